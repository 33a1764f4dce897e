// What a plugin returns and throws.

export class BadRecord extends Error {}
export class Transient extends Error {}
export class Fatal extends Error {}

export class Routed {
  constructor(output, record) {
    this.output = output;
    this.record = record;
  }
}

// What a plugin throws may throw itself as soon as it is looked at.
const attempt = (look, other) => {
  try {
    return look();
  } catch {
    return other;
  }
};
export const isTransient = (error) => attempt(() => error instanceof Transient, false);
export const isFatal = (error) => attempt(() => error instanceof Fatal, false);
export const tagOf = (error) => (isTransient(error) ? "transient" : isFatal(error) ? "fatal" : "bad-record");

// Says an error as "message (line)", by the innermost place in the plugin's own file; the loader moves columns.
export const told = (error) => attempt(() => toldOf(error), "it threw something that cannot be told");

const toldOf = (error) => {
  if (!(error instanceof Error)) return String(error);
  const own = error instanceof BadRecord || error instanceof Transient || error instanceof Fatal;
  const text = own || error.name === "Error" ? error.message : `${error.name}: ${error.message}`;
  const place = /<input>:(\d+)/.exec(error.stack ?? "");
  return place ? `${text} (${place[1] - 1})` : `${text}`; // the file begins on the second line
};

// Returns what `process` returned as a list of records.
export const checked = (result) => {
  if (result === null || result === undefined) return [];
  const rows = Array.isArray(result) ? result : [result];
  for (const row of rows) refuse(row instanceof Routed ? row.record : row);
  return rows;
};

export const refuse = (record) => {
  if (typeof record !== "object" || record === null || Array.isArray(record)) {
    throw new BadRecord(`process returned ${record === null ? "null in a list" : `no record, but ${typeof record}`}`);
  }
  if (typeof record.then === "function") throw new Fatal("process is asynchronous, and there is nothing to wait for");
};
