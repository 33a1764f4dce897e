/** What a plugin in TypeScript or JavaScript finds in its sandbox. It is here for editors; nothing imports it. */
declare const dataflare: {
  /** Tells the workflow something; `level` is "info" unless told otherwise. */
  log(message: unknown, level?: "debug" | "info" | "warn" | "error"): void;
  /** Adds to a counter of the plugin. */
  metric(name: string, value?: number): void;
  /** The time of the epoch, microseconds since 1970: the same when rows come again. */
  now(): number;
  /** What is kept for a key, a list of the values of the node's `key` columns. */
  getState<T = unknown>(key: unknown[]): T | undefined;
  /** Keeps something for a key; null forgets it. */
  setState(key: unknown[], value: unknown): void;
  /** Sends a record to a named output. */
  to<T extends object>(output: string, record: T): DataflareRouted<T>;
  /** Thrown: this record is bad, and `on_error` of the node decides. Any other error is, too. */
  readonly BadRecord: ErrorConstructor;
  /** Thrown: the run tries again from the last checkpoint. */
  readonly Transient: ErrorConstructor;
  /** Thrown: the run ends. */
  readonly Fatal: ErrorConstructor;
};

/** A record on its way to a named output. */
interface DataflareRouted<T extends object> {
  readonly output: string;
  readonly record: T;
}

/** What is logged by it is told as by `dataflare.log`. */
declare const console: {
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
};
