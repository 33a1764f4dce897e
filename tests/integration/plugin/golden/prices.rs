#[path = "dataflare.rs"]
mod dataflare;
use dataflare::{Array, Column, Columns, Error, Info, Json, Output, Plugin, Rows};

struct Prices;

impl Plugin for Prices {
    const INFO: Info = Info {
        name: "prices",
        version: "1.0.0",
        input: Some(&["amount", "name"]),
        input_kinds: &["float64"],
        outputs: &[
            Output { name: "", columns: Some(&[("total", "float64"), ("length", "int32")]), adds: true },
            Output { name: "long", columns: Some(&[("name", "string")]), adds: false },
        ],
        ..Info::NEW
    };

    fn open(_: Json) -> Result<Self, Error> {
        Ok(Prices)
    }
}

impl Columns for Prices {
    fn bind(&mut self, columns: &[(String, String)]) -> Result<(), Error> {
        if columns.len() == 2 && columns[1].1 == "string" {
            Ok(())
        } else {
            Err("name is no string".into())
        }
    }

    fn process_columns(&mut self, rows: usize, columns: &[Array], out: &mut Rows) -> Result<(), Error> {
        let (amounts, names) = (columns[0].numbers::<f64>(), columns[1].texts().ok_or("no texts")?);
        let (mut totals, mut lengths, mut sources, mut long) = (vec![], vec![], vec![], vec![]);
        for row in 0..rows {
            if columns[0].is_null(row) || columns[1].is_null(row) {
                out.refuse(row, "a null");
                continue;
            }
            let (amount, name) = (amounts[row] as f64, names.get(row));
            match amount {
                13.0 => return Err(Error::Fatal("thirteen".into())),
                14.0 => return Err(Error::Transient("fourteen".into())),
                15.0 => loop {
                    std::hint::black_box(row);
                },
                _ => {}
            }
            if name.len() > 3 {
                long.push(row as u32);
            }
            if amount >= 0.0 {
                totals.push(amount * 2.0);
                lengths.push(name.len() as i32);
                sources.push(row as u32);
            }
        }
        let texts = Column::texts(long.iter().map(|&row| Some(names.get(row as usize))));
        let count = totals.len();
        out.give("", count, vec![totals.into(), lengths.into()], (count < rows).then_some(sources));
        out.give("long", long.len(), vec![texts], Some(long));
        Ok(())
    }
}

dataflare::export_columns!(Prices);
