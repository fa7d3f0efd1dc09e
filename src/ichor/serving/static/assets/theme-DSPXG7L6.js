var t=localStorage.getItem("ichor.theme");document.documentElement.dataset.theme=t==="light"?"light":"dark";
