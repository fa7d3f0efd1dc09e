// Numbers and times as a person reads them: as in the written report, but for a third decimal of a probability near 0 or 1.

export function probability(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : bounded(value, 2);
}

/** A probability with more decimals where only they tell it from the other one. */
export function apart(value: number, other: number): string {
  for (const decimals of [2, 3, 4]) {
    if (value.toFixed(decimals) !== other.toFixed(decimals)) return bounded(value, decimals);
  }
  return probability(value);
}

/** A threshold with as many decimals as tell it from a probability: it is a number, and never ">0.99". */
export function limit(threshold: number, p: number): string {
  const text = apart(threshold, p);
  return /^[<>]/.test(text) ? String(Number(threshold.toPrecision(4))) : text;
}

/** Never round an uncertain thing to certainty: at the edge one more decimal, and beyond that a bound. */
function bounded(value: number, decimals: number): string {
  const smallest = 10 ** -decimals;
  if (value >= smallest / 2 && value <= 1 - smallest / 2) return value.toFixed(decimals);
  const finer = smallest / 10;
  if (value < finer / 2) return `<${finer.toFixed(decimals + 1)}`;
  if (value > 1 - finer / 2) return `>${(1 - finer).toFixed(decimals + 1)}`;
  return value.toFixed(decimals + 1);
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
  // Rounded before it is taken apart: 119.7 s is 2 min 0 s.
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d`;
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
