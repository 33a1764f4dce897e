// Columns that come out beside those that came in, with their types.
export const adds = { total: "float64" };

let rate = 1;

// Is called once, with the settings of the workflow.
export function open(settings) {
  rate = settings.rate ?? 1;
}

// Is called with each row. Null: it is left out; a list: it becomes several; what is thrown: `on_error` decides.
export function process(order) {
  if (order.amount < 0) throw new Error("the amount is below zero");
  if (order.status === "cancelled") return null;
  return { ...order, total: order.amount * rate };
}
