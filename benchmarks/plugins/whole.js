// W9a: the whole record goes in, and comes out with a total.
export const output = { nr: "int64", amount: "float64", name: "string", city: "string", ts: "string", total: "float64" };
export const process = (record) => (record.amount < 5 ? null : { ...record, total: record.amount * 1.2 });
