// The ways to add a study: dropping, choosing, photographing; and the progress of each upload.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { bytes, count } from "../format";
import { toStudy } from "../router";
import { fromDrop, fromInput, plainPhotograph } from "./collect";
import { StackDialog } from "./StackDialog";
import { findUnfinished, refusal, submit, type Transfer, transfers } from "./transfer";

const ACCEPTED = ".dcm,.dicom,.ima,.zip,.nii,.nii.gz,.gz,.png,.jpg,.jpeg,.bmp,.tif,.tiff,application/dicom,application/zip,image/*";

export function UploadPanel() {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const camera = useRef<HTMLInputElement>(null);
  const photograph = useSignal<{ file: File; address: string } | null>(null);

  useEffect(() => void findUnfinished(), []);

  const take = (input: HTMLInputElement | null): void => {
    const chosen = fromInput(input?.files ?? null);
    if (input) input.value = "";
    if (chosen.length) void submit(chosen);
  };
  const shoot = async (): Promise<void> => {
    const taken = camera.current?.files?.[0];
    if (!taken) return;
    camera.current!.value = "";
    try {
      const file = await plainPhotograph(taken);
      photograph.value = { file, address: URL.createObjectURL(file) };
    } catch {
      refusal.value = "This photograph could not be opened. Take it again, or choose a JPEG or PNG file.";
    }
  };
  const done = (send: boolean): void => {
    const taken = photograph.value;
    photograph.value = null;
    if (!taken) return;
    URL.revokeObjectURL(taken.address);
    if (send) void submit([{ path: taken.file.name, file: taken.file }]);
  };

  return (
    <section class="upload" aria-label="Add studies">
      <div class="dropzone">
        <p class="hide-small">
          <b>Drag studies onto this page</b>
          <span class="soft">folders, zips, DICOM files, NIfTI volumes, pictures</span>
        </p>
        <div class="row wrap">
          <button type="button" class="primary" onClick={() => files.current?.click()}>
            Choose files
          </button>
          <button type="button" class="no-touch" onClick={() => folder.current?.click()}>
            Choose a folder
          </button>
          <button type="button" onClick={() => camera.current?.click()}>
            Take a photograph
          </button>
        </div>
        <input
          ref={files}
          class="unseen"
          type="file"
          multiple
          accept={ACCEPTED}
          tabIndex={-1}
          aria-label="Files"
          data-input="files"
          onChange={() => take(files.current)}
        />
        <input
          ref={(element) => {
            folder.current = element;
            element?.setAttribute("webkitdirectory", "");
          }}
          class="unseen"
          type="file"
          multiple
          tabIndex={-1}
          aria-label="Folder"
          data-input="folder"
          onChange={() => take(folder.current)}
        />
        <input
          ref={camera}
          class="unseen"
          type="file"
          accept="image/*"
          capture="environment"
          tabIndex={-1}
          aria-label="Photograph"
          data-input="camera"
          onChange={() => void shoot()}
        />
      </div>
      {refusal.value && (
        <p class="problem" role="alert">
          {refusal.value}{" "}
          <button type="button" class="quiet small" onClick={() => (refusal.value = "")}>
            Close
          </button>
        </p>
      )}
      {transfers.value.length > 0 && (
        <ul class="transfers" aria-label="Uploads">
          {transfers.value.map((transfer) => (
            <TransferRow key={transfer.title + transfer.id} transfer={transfer} />
          ))}
        </ul>
      )}
      <StackDialog />
      {photograph.value && <Photograph address={photograph.value.address} onDone={done} />}
    </section>
  );
}

function TransferRow({ transfer }: { transfer: Transfer }) {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const wrong = useSignal("");
  const stage = transfer.stage.value;
  const sent = transfer.sent.value;
  const left = transfer.rate.value > 0 ? (transfer.total - sent) / transfer.rate.value : 0;
  const close = (): void => {
    transfers.value = transfers.value.filter((one) => one !== transfer);
  };
  const again = (input: HTMLInputElement | null): void => {
    wrong.value = transfer.resume(fromInput(input?.files ?? null));
    if (input) input.value = "";
  };
  const copy = transfer.studies.value.find((study) => study.duplicate_of);
  const waiting = transfer.studies.value.some((study) => study.state === "queued" || study.state === "reading");

  useEffect(() => {
    if (stage !== "done" || copy || waiting) return;
    const timer = setTimeout(close, 2500);
    return () => clearTimeout(timer);
  }, [stage, copy?.id, waiting]);

  return (
    <li class={`transfer ${stage.replace(" ", "-")}`}>
      <div class="row">
        <b class="transfer-title">{transfer.title}</b>
        <span class="soft">
          {count(transfer.filesCount, "file")}, {bytes(transfer.total)}
        </span>
        <span class="grow" />
        {stage === "sending" && (
          <button type="button" class="quiet small" onClick={() => transfer.pause()}>
            Pause
          </button>
        )}
        {(stage === "paused" || (stage === "failed" && transfer.id)) && (
          <button type="button" class="quiet small" onClick={() => void transfer.start()}>
            Resume
          </button>
        )}
        {stage === "files needed" && (
          <>
            <button type="button" class="quiet small" onClick={() => files.current?.click()}>
              Choose the same files
            </button>
            <button type="button" class="quiet small no-touch" onClick={() => folder.current?.click()}>
              Choose the same folder
            </button>
            <input
              ref={files}
              class="unseen"
              type="file"
              multiple
              tabIndex={-1}
              aria-label="The same files"
              data-input="resume-files"
              onChange={() => again(files.current)}
            />
            <input
              ref={(element) => {
                folder.current = element;
                element?.setAttribute("webkitdirectory", "");
              }}
              class="unseen"
              type="file"
              multiple
              tabIndex={-1}
              aria-label="The same folder"
              data-input="resume-folder"
              onChange={() => again(folder.current)}
            />
          </>
        )}
        {stage === "done" ? (
          <button type="button" class="quiet small" onClick={close}>
            Close
          </button>
        ) : (
          stage !== "finishing" && (
            <button type="button" class="quiet small" onClick={() => void transfer.cancel()}>
              Cancel
            </button>
          )
        )}
      </div>
      <div class="meter">
        {stage !== "done" && <progress max={Math.max(1, transfer.total)} value={sent} aria-label={`Upload of ${transfer.title}`} />}
        <p class="soft" role="status">
          {stage === "sending" && `${bytes(sent)} of ${bytes(transfer.total)}${left > 2 ? `, ${Math.ceil(left)} s left` : ""}`}
          {stage === "paused" && `Paused at ${bytes(sent)} of ${bytes(transfer.total)}`}
          {stage === "files needed" && `Interrupted at ${bytes(sent)} of ${bytes(transfer.total)}. Choose the same files to go on.`}
          {stage === "finishing" && "All there; handing over"}
          {stage === "done" && !copy && "Sent. It is in the worklist."}
        </p>
      </div>
      {copy && (
        <p class="duplicate" role="status">
          This study was here already and is not assessed again: <a href={toStudy(copy.duplicate_of!)}>open it</a>.
        </p>
      )}
      {(transfer.message.value || wrong.value) && (
        <p class="problem" role="alert">
          {wrong.value || transfer.message.value}
        </p>
      )}
    </li>
  );
}

function Photograph({ address, onDone }: { address: string; onDone: (send: boolean) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      class="sheet photograph"
      aria-labelledby="photograph-title"
      onClose={() => onDone(dialog.current?.returnValue === "send")}
    >
      <h2 id="photograph-title">Use this photograph?</h2>
      <img src={address} alt="The photograph" />
      <p class="soft">
        One slice, large, in the brain window; all four sides of the screen or film, from straight ahead, no lamp reflected.
      </p>
      <form method="dialog" class="row">
        <button type="submit" class="primary" value="send">
          Use it
        </button>
        <button type="submit" class="quiet" value="again">
          Discard
        </button>
      </form>
    </dialog>
  );
}

/** Accepts drops anywhere on the page, and covers it while something is held over it. */
export function DropAnywhere() {
  const over = useSignal(0);
  useEffect(() => {
    const off = new AbortController();
    const { signal } = off;
    const files = (event: DragEvent): boolean => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const enter =
      (by: 1 | -1) =>
      (event: DragEvent): void => {
        if (files(event)) over.value = Math.max(0, over.value + by);
      };
    window.addEventListener("dragenter", enter(1), { signal });
    window.addEventListener("dragleave", enter(-1), { signal });
    window.addEventListener("dragover", (event) => files(event) && event.preventDefault(), { signal });
    window.addEventListener(
      "drop",
      (event) => {
        over.value = 0;
        if (!event.dataTransfer || !files(event)) return;
        event.preventDefault();
        location.hash = "#/";
        fromDrop(event.dataTransfer).then(
          submit,
          () => (refusal.value = "What was dropped could not be read. Choose it with the buttons instead."),
        );
      },
      { signal },
    );
    return () => off.abort();
  }, []);
  return over.value > 0 ? (
    <div class="drop-cover" aria-hidden="true">
      <p>Drop to add</p>
    </div>
  ) : null;
}
