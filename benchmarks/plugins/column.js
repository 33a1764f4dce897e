// W9b: one column goes in, and one comes out beside the others.
export const input = ["amount"];
export const adds = { total: "float64" };
export const process = ({ amount }) => (amount < 5 ? null : { total: amount * 1.2 });
