// What can be taken from the page: a print, the report, and files.

import { fileAddress } from "../api";
import type { Findings, Study } from "../types";
import { locates } from "./subtypes";

interface Download {
  name: string;
  path: string;
  file: string;
}

function downloadsOf(row: Study, findings: Findings): Download[] {
  const stem = row.label.replace(/[^\w.-]+/g, "_");
  const found: Download[] = [{ name: "Findings (JSON)", path: "findings", file: `${stem}.json` }];
  if (row.kind === "exam" && findings.assessable && locates(findings))
    found.push({ name: "Mask (NIfTI)", path: "mask-native.nii.gz", file: `${stem}-mask.nii.gz` });
  if (findings.regions.length) found.push({ name: "Outlined slices (PNG)", path: "overlays.zip", file: `${stem}-overlays.zip` });
  return found;
}

export function Downloads({ row, findings }: { row: Study; findings: Findings }) {
  return (
    <section class="downloads" aria-labelledby="downloads">
      <h3 id="downloads">Downloads</h3>
      <p class="row wrap">
        <button type="button" class="quiet small" onClick={() => window.print()}>
          Print or PDF
        </button>
        <a class="button quiet small" href={fileAddress(row.id, "report.html")} target="_blank" rel="noopener">
          Full report
        </a>
        {downloadsOf(row, findings).map(({ name, path, file }) => (
          <a key={path} class="button quiet small" href={fileAddress(row.id, path)} download={file}>
            {name}
          </a>
        ))}
      </p>
    </section>
  );
}
