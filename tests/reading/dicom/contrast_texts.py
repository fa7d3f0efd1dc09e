"""Words of contrast as archives of many countries have them, a line of each kind; semicolons part them."""

# ruff: noqa: RUF001, SIM905 - letters of other scripts are meant as such; a line of texts reads better than a list

from __future__ import annotations

PLAIN = (
    "TC CRANEO S/ CONTRASTE;TC CRANIO S/ CONTR;TC SIN CIV;CRANEO SIN C.I.V.;"
    "CRANIO SEM CONTRASTE EV;TK mozku nativně;TK hlavy bez KL;TK glowy bez kontrastu;"
    "TK głowy bez śr. kontrast.;CT cranian nativ;CT cerebral fara contrast;fără subst. de contrast;"
    "BT beyin kontrastsız;Kontrastsız beyin;IV kontrastsiz;ΑΞΟΝΙΚΗ ΕΓΚΕΦΑΛΟΥ ΧΩΡΙΣ ΣΚΙΑΓΡΑΦΙΚΟ;"
    "КТ головы без контраста;КТ ГМ без КУ;без контрастирования;без в/в контрастирования;"
    "нативная фаза;без контрастного усиления;без внутривенного контрастирования;"
    "MSCT glave bez kontrasta;nativno;CT glave brez kontrasta;CT glave brez KS;"
    "CT hlavy bez KL natív;CT cerebrum u. kontrast;CT cerebrum u/kontrast;CT c. uden kontrast;"
    "CT hode uten kontrast;DT hjärna utan kontrast;DT hjärna u ktr;DT hjärna utan iv kontrast;"
    "pään TT ilman varjoainetta;pään TT natiivi;TT ilman tehostetta;pea KT kontrastita;"
    "pea KT natiivne;galvas CT bez kontrasta;galvos KT be kontrasto;galvos KT nativinis;"
    "kepala tanpa kontras;CT nao khong thuoc;CT so nao khong tiem;không tiêm thuốc cản quang;头颅平扫;"
    "頭部単純;頭部 造影なし;非增强;无造影剂;두부 비조영;조영 전;תוחמ ללא חומר ניגוד;ללא הזרקה;بدون تزریق;بدون صبغة;"
    "بدون ماده حاجب;without dye;no dye;w/o dye;KOPF OHNE KM;KOPF o. KM;KOPF o.KM;Kopf nativ;"
    "Kopf ohne i.v. KM;W/O;WO CON;W/O CONT;HEAD WO;HEAD W/O;NON-CON;NONCON;NON CON;NON ENH;"
    "NON-ENHANCED;NC HEAD;C-;HEAD C-;HEAD -C;IV-;CRANE IV-;CRANE SANS IV;SANS PDC;SANS PRODUIT;S/C;"
    "CRANEO S/C;SENZA MDC;S/MDC;S.M.D.C.;SMDC;BASALE;DIRETTO;SENZA M.D.C.;SIMPLE;"
    "SEM MEIO DE CONTRASTE;TAC CRANEO SIN MEDIO;SIN MEDIO DE CONTRASTE;SIN INYECCION;"
    "zonder iv contrast;zonder c.m.;blanco;BLANCO HERSENEN;nativ kopf;natív koponya;"
    "kontraszt nélkül;kontrasztanyag nélkül;สมองไม่ฉีดสี;बिना कंट्रास्ट;PRE CONTRAST;PRECONTRAST;"
    "pre-contrast;PRE;unenhanced;UNENH;NONCONTRAST;NON CONTRASTED;NO IV CONTRAST GIVEN;NO CONTRAST;"
    "WITHOUT IV CONTRAST;WITHOUT INTRAVENOUS CONTRAST;CT head without contrast;"
    "CT BRAIN W-O IV CONT;HEAD WITHOUT;BRAIN_WO;BRAIN_W/O_CONTRAST;HEAD^WO;AXIAL S/CONTRASTE 5MM;"
    "Cerebro simple;CEREBRO S/C;SERIE NATIVA;PHASE SANS IV;ACQ SANS INJ;Nativphase;o. KM-Gabe;"
    "bez kontr.;без к/у;head wo iv;Ax Head W/OUT;WOC;WO-C;CONTRAST: NO;NO CE;cereb. senza m.d.c.;"
    "senza contr.;PRE-MDC;PRIMA MDC;AVANT INJECTION;avant IV;vor KM;före kontrast;"
    "ennen varjoainetta;przed kontrastem;před KL;до контраста;ANTES DE CONTRASTE;PRÉ CONTRASTE;"
    "voor contrast;Head (-) contrast;HEAD(-C);C(-);HEAD 5MM STD W/O;TC ENCEFALO SMC;"
    "Head unenh. 5.0 H31;CT-HEAD_WITHOUT_CONTRAST;BRAIN-WO-5MM;3/HEAD WO/5.00;ct brain non contr;"
    "Brain NonContrast;NO-CONTRAST;HEAD NCE;nicht KM;Ohne Kontrastmittel;kontrastmittelfrei;"
    "sin medio de contraste iv;S/ MEIO DE CONTRASTE;s/ cte;ST KOPF NATIV 5MM;头部CT平扫;頭部CT(単純);"
    "CT 平扫 5mm;普通扫描;ct plain;נטיב;KONTRASTFREI"
).split(";")
ENHANCED = (
    "TC CRANEO C/ CONTRASTE;TC CRANIO C/ CONTR;TC CON CIV;CRANEO C/C;CRANIO COM CONTRASTE EV;"
    "TK mozku s kontrastem;TK hlavy s KL;po KL;po k.l.;TK glowy z kontrastem;po kontraście;"
    "CT cerebral cu contrast;postcontrast;BT beyin kontrastlı;IV kontrastli;ΑΞΟΝΙΚΗ ΜΕ ΣΚΙΑΓΡΑΦΙΚΟ;"
    "КТ головы с контрастом;с контрастным усилением;с контрастированием;артериальная фаза;"
    "венозная фаза;MSCT glave sa kontrastom;CT glave s kontrastom;glave s KS;CT m. kontrast;"
    "CT m/kontrast;med kontrast;DT hjärna m ktr;DT med iv kontrast;varjoainekuvaus;tehosteella;"
    "kontrastiga;ar kontrastu;su kontrastu;dengan kontras;co tiem thuoc;có thuốc cản quang;头颅增强;増強;"
    "頭部造影;두부 조영;조영 후;조영증강;עם חומר ניגוד;אחרי הזרקה;با تزریق;مع صبغة;with dye;KOPF MIT KM;"
    "KOPF m. KM;KOPF m.KM;nach KM;KM i.v.;Kopf venös;W CON;W/ CONT;W/CON;W CONTRAST;HEAD W;C+;+C;"
    "HEAD +C;IV+;CRANE IV+;AVEC IV;AVEC PDC;APRES INJECTION;AVEC PRODUIT;C/C;CON MDC;C/MDC;"
    "DOPO MDC;FASE ARTERIOSA;FASE VENOSA;CONTRASTADO;CONTRASTADA;COM MEIO DE CONTRASTE;CON MEDIO;"
    "CON INYECCION;met iv contrast;met c.m.;kontrasztos;kontrasztanyaggal;ฉีดสี;कंट्रास्ट के साथ;"
    "POST CONTRAST;POST-CON;POST;CE HEAD;ENHANCED;WITH IV;CTA HEAD;ANGIO;VENOUS;PORTAL VENOUS;"
    "DELAYED;PERFUSION;IV CONTRAST;HEAD WITH;BRAIN_W;BRAIN_WITH_CONTRAST;Arterielle Phase;arterial;"
    "ANGIOSCANNER;TSA CIRCLE OF WILLIS;late phase;Spätphase;portalvenös;IV CON CONTRASTE;"
    "C CONTRASTE;W IV CONT;WITH CON;CONTRASTED;с к/у;AX C CONT;HEAD(+C);C(+);+Contrast;"
    "Head + contrast;mit Kontrastmittel;nach Kontrastmittelgabe;TARDIVA;c/ cte;增强扫描;CT増強;造影CT;"
    "POST INJ;post-iv;POST MDC;w/c;W C;HEAD W/C 5MM;Head w/ IV;BRAIN-W-5MM"
).split(";")
BOTH = (
    "HEAD W/O & W CONTRAST;Head pre/post;nativ + KM;ohne/mit KM;CRANEO S/C Y C/C;"
    "bez i z kontrastem;без и с контрастом;S/ E C/ CONTRASTE;NATIF ET INJECTE;平扫+增强;+/- contrast;"
    "C+/C-"
).split(";")
SILENT = (
    "HEAD 5.0 H31s;CRANIO;HEAD ROUTINE;Schädel 5mm;CRANE 3MM OS;HEAD W BONE;BRAIN WINDOW;"
    "TRAUMA HEAD;CABEZA;CONTROL;CONTROLE;ROUTINE C1;C-SPINE AND HEAD;CONSOLE;NON CONTIGUOUS;"
    "NO GANTRY TILT;HEAD NO TILT;CRANE SANS INCLINAISON;WITHOUT TILT;W/O TILT;MAIN HEAD;ADVANCE;"
    "IVY LEAGUE;SKULL W/BONE;CT HEAD W 3D;HEAD WITH NECK;CRANIO C/ ANGULACAO;CRANIO S/ ANGULACAO;"
    "KOPF MIT HALS;NO ANGLE;CONTROL POST OP;POST TRAUMA;PRE OP;NON HELICAL;CONTINUE;ARTERY LINE;"
    "HEAD INJURY;WITH INJURY;NATIVITY HOSPITAL"
).split(";")
NO_AGENT = (
    "N/A;n/a;NO CONTRAST ADMINISTERED;0 ml;0ml;None given;-;--;nil;No IV contrast;NOT APPLICABLE;"
    "keine;ohne KM;IV CONTRAST: NO;Contrast: none;0;0.0;no agent;not used;NO CM;***;Unknown;"
    "SIN CONTRASTE;S/C;NO DYE;NOT ADMINISTERED;no se administro;nao administrado;SANS;non injecté;"
    "NON;aucun produit;senza;nessun mdc;без контраста;не вводился;нет;无对比剂;未注射;造影なし;ingen;"
    "ei varjoainetta;brak;bez;yok;kontrast yok;N;NC;NONCON;WO;w/o;none.;(none);NONE/NONE;no\\no;"
    "FALSE;Native;nativ;plain;unspecified;NaN;ORAL NONE;0 CC OMNIPAQUE;OMNIPAQUE 0 ML"
).split(";")
AGENT = (
    "OMNIPAQUE;ISOVUE 300;ULTRAVIST 370;APPLIED;YES;Y;CE;IV;IV CONTRAST;Omnipaque 350 100 ml;"
    "VISIPAQUE 320;Iomeron;JOPAMIRO;CONTRASTE;KM;Xenetix;nonionic iodine;NON-IONIC;"
    "Non ionic contrast;NOVOMERON;NONIONIC;Optiray;CONRAY;ORAL & IV;100;1;CONTRAST;NORMAL;Ioversol;"
    "TRUE;iodine;NIOPAM;OXILAN"
).split(";")
HEADS = (
    "SO NAO;SỌ NÃO;CEREBRUM;CALOTTE;CRANE;CRÂNE;TÊTE;ENCEPHALE;cabeza;cráneo;crânio;encéfalo;testa;"
    "cranio;encefalo;Kopf;Schädel;Hirn;Gehirn;Neurocranium;hoofd;hersenen;schedel;huvud;hjärna;"
    "skalle;hoved;hjerne;kranium;pää;aivot;kallo;pea;aju;galva;smadzenes;smegenys;głowa;mózg;"
    "czaszka;hlava;mozek;lebka;mozog;koponya;agy;fej;creier;craniu;glava;mozak;lobanja;možgani;"
    "глава;мозък;голова;головной мозг;череп;κεφαλή;εγκέφαλος;kafa;beyin;kranyum;ראש;מוח;رأس;دماغ;"
    "مغز;सिर;मस्तिष्क;ศีรษะ;สมอง;kepala;otak;kichwa;ubongo;頭部;脳;头颅;颅脑;腦;두부;뇌;머리;SKULL;BRAIN;"
    "HEADNECK;HEAD_NECK;CRANIUM;INTRACRANIAL"
).split(";")
