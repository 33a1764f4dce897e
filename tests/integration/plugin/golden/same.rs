#[path = "dataflare.rs"]
mod dataflare;
use dataflare::{Array, Columns, Error, Info, Json, Plugin, Rows};

struct Same;

impl Plugin for Same {
    const INFO: Info = Info { name: "same", version: "1.0.0", ..Info::NEW };

    fn open(_: Json) -> Result<Self, Error> {
        Ok(Same)
    }
}

impl Columns for Same {
    fn process_columns(&mut self, rows: usize, columns: &[Array], out: &mut Rows) -> Result<(), Error> {
        out.give("", rows, columns.iter().map(Into::into).collect(), None);
        Ok(())
    }
}

dataflare::export_columns!(Same);
