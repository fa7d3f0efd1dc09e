// Numbers and times as a person reads them; the same rules as the written report.

export function probability(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 0.005) return "<0.01";
  if (value > 0.995) return ">0.99";
  return value.toFixed(2);
}

/** A probability with more decimals where only they tell it from the other one. */
export function apart(value: number, other: number): string {
  for (const decimals of [2, 3, 4]) {
    if (value.toFixed(decimals) !== other.toFixed(decimals)) return bounded(value, decimals);
  }
  return probability(value);
}

function bounded(value: number, decimals: number): string {
  const least = 10 ** -decimals;
  if (value < least / 2) return `<${least.toFixed(decimals)}`;
  if (value > 1 - least / 2) return `>${(1 - least).toFixed(decimals)}`;
  return value.toFixed(decimals);
}

export function volume(ml: number | null | undefined): string {
  if (ml === null || ml === undefined) return "–";
  return ml > 0 && ml < 0.05 ? "under 0.1 mL" : `${ml.toFixed(1)} mL`;
}

export function bytes(n: number): string {
  if (n < 1e6) return `${Math.max(1, Math.round(n / 1e3))} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`;
  return `${(n / 1e9).toFixed(1)} GB`;
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0.1) return "<0.1 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function clock(iso: string | null | undefined): string {
  if (!iso) return "–";
  const time = new Date(iso);
  const today = new Date().toDateString() === time.toDateString();
  const hour: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };
  return today ? time.toLocaleTimeString([], hour) : time.toLocaleString([], { ...hour, day: "numeric", month: "short" });
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** Indices as a person counts them, from 1: [3, 4, 5, 9] is "4–6, 10". */
export function ranges(indices: readonly number[]): string {
  const spans: [number, number][] = [];
  for (const number of [...new Set(indices)].sort((a, b) => a - b).map((i) => i + 1)) {
    const last = spans.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else spans.push([number, number]);
  }
  return spans.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(", ");
}
