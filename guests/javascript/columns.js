// Between records and columns. One function is made for each list of names: records that are written out are made faster
// than those that get their names one by one.
import { BadRecord } from "./results.js";

const makers = new Map();

const made = (kind, names, make) => {
  const key = kind + JSON.stringify(names);
  if (!makers.has(key)) makers.set(key, make(names.map((name) => JSON.stringify(name))));
  return makers.get(key);
};

export const recordsOf = (columns, count) =>
  made("r", Object.keys(columns), (names) => {
    const lists = names.map((_, n) => `c${n}`).join(", ");
    const fields = names.map((name, n) => `${name === '"__proto__"' ? `[${name}]` : name}: c${n}[n]`).join(", ");
    return new Function(
      "lists",
      "count",
      `const [${lists}] = lists, records = new Array(count);
for (let n = 0; n < count; n++) records[n] = { ${fields} };
return records;`,
    );
  })(Object.values(columns), count);

export const columnsOf = (records, names) =>
  made("c", names, (texts) => {
    const lists = texts.map((name) => `${JSON.stringify(`${name}:`)} + JSON.stringify(records.map((record) => record[${name}]))`);
    return new Function("records", `return "{" + ${lists.join(' + "," + ') || '""'} + "}";`);
  })(records);

// Returns what refuses records that have other names than these, or those: their values would be lost.
export const othersRefused = (names, others) => {
  const plain = made("o", names, (texts) => {
    const all = texts.map((name) => ` && record[${name}] !== undefined`).join("");
    return new Function("record", `return Object.keys(record).length === ${texts.length}${all};`);
  });
  return (record) => {
    if (plain(record)) return;
    const other = Object.keys(record).find((name) => !names.includes(name) && !others.includes(name));
    if (other !== undefined) {
      throw new BadRecord(`process returned ${JSON.stringify(other)}, which is no column of the output`);
    }
  };
};
