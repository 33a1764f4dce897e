// Between records and columns. One function is made for each list of names: records that are written out are made faster
// than those that get their names one by one.

const makers = new Map();

const made = (kind, names, make) => {
  const key = kind + JSON.stringify(names);
  if (!makers.has(key)) makers.set(key, make());
  return makers.get(key);
};

// Returns what calls `process` with each row and keeps plain records in `main`; whatever else comes of a row goes to `other`,
// and what is thrown to `failed`. `names` are those of the lists, null: there is one list, of records.
export const looped = (names) =>
  made("l", names, () => {
    const fields = (names ?? []).map((name, n) => `${name === "__proto__" ? '["__proto__"]' : JSON.stringify(name)}: c${n}[n]`);
    return new Function(
      "process",
      "lists",
      "count",
      "main",
      "other",
      "failed",
      `const [${(names ?? [0]).map((_, n) => `c${n}`).join(", ")}] = lists, records = main.records;
let n = 0, k = 0, sources = main.sources;
while (n < count) {
  try {
    for (; n < count; n++) {
      const result = process(${names ? `{ ${fields.join(", ")} }` : "c0[n]"});
      if (result?.constructor === Object) {
        if (sources !== null) sources[k] = n;
        records[k++] = result;
      } else {
        other(result, n);
        k = records.length;
        sources = main.sources;
      }
    }
  } catch (error) {
    failed(error, n++);
    k = records.length;
    sources = main.sources;
  }
}`,
    );
  });

// Returns columns as they came in: lists, or numbers as the base64 of their 8 bytes each, with the places of nulls.
export const unpacked = (columns) => {
  const found = {};
  for (const name of Object.keys(columns)) {
    const column = columns[name];
    let list = column;
    if (!Array.isArray(column)) {
      list = Array.prototype.slice.call(new Float64Array(Uint8Array.fromBase64(column.f64).buffer));
      for (const place of column.nulls ?? []) list[place] = null;
    }
    Object.defineProperty(found, name, { value: list, enumerable: true, writable: true, configurable: true });
  }
  return found;
};

// Returns a list as JSON; `packs`: numbers may be the base64 of their 8 bytes each, which is three times as quick.
export const packed = (list, packs) => {
  if (ArrayBuffer.isView(list)) list = Array.prototype.slice.call(list);
  if (!packs || !Array.isArray(list) || !list.length || !list.every(Number.isFinite)) return JSON.stringify(list);
  return `{"f64":"${new Uint8Array(new Float64Array(list).buffer).toBase64()}"}`;
};

// Returns the records as JSON with one list for each name.
export const listsOf = (records, names, packs) =>
  made("c", names, () => {
    const values = names.map((name, n) => `l${n}[n] = record[${JSON.stringify(name)}];`).join(" ");
    const texts = names.map((name, n) => `${JSON.stringify(`${JSON.stringify(name)}:`)} + packed(l${n}, packs)`);
    return new Function(
      "records",
      "packed",
      "packs",
      `const count = records.length${names.map((_, n) => `, l${n} = []`).join("")};
for (let n = 0; n < count; n++) { const record = records[n]; ${values} }
return "{" + ${texts.join(' + "," + ') || '""'} + "}";`,
    );
  })(records, packed, packs);

// Returns by number the records that have another name than these, with that name: its value would be lost.
export const othersOf = (records, names) => {
  const all = Object.create(null);
  for (let at = 0; at < records.length; at += 4096) Object.assign(all, ...records.slice(at, at + 4096));
  const others = Object.keys(all).filter((name) => !names.includes(name));
  const named = (record) => others.find((name) => Object.hasOwn(record, name));
  return new Map(others.length ? records.map((record, n) => [n, named(record)]).filter(([, name]) => name !== undefined) : []);
};
