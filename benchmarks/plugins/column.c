/* W9c: one column goes in as a buffer of Arrow, and one comes out beside the others. */
#define DF_BUFFERS
#include "dataflare.h"

static const char *const input[] = {"amount"}, *const kinds[] = {"float64"};
static const df_column added[] = {{"total", "float64"}};
static const df_output outputs[] = {{.name = "", .columns = added, .count = 1, .adds = true}};
const df_info df_plugin = {.name = "column", .version = "1.0.0", .input = input, .input_count = 1, .input_kinds = kinds,
                           .outputs = outputs, .output_count = 1};

df_verdict df_process_columns(uint32_t rows, const df_array *columns, uint32_t count, df_rows *out) {
  const double *amounts = columns[0].values;
  double *totals = df_scratch(out, rows * sizeof *totals);
  uint32_t *sources = df_scratch(out, rows * sizeof *sources), kept = 0;
  df_array *made = df_scratch(out, sizeof *made);
  (void)count;
  for (uint32_t row = 0; row < rows; row++) {
    totals[kept] = amounts[row] * 1.2;
    sources[kept] = row;
    kept += amounts[row] >= 5;
  }
  *made = df_values(totals, kept * sizeof *totals);
  df_give(out, DF_DEFAULT, kept, made, 1, sources);
  return DF_KEEP;
}
