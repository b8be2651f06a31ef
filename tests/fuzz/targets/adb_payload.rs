//! The tree of values in an ADB block: what was read can be written, and is then read as the same.

#![no_main]

use alpinist_apk::adb::{
    builder::{Builder, Stored},
    value::{Reader, Table, Value, ValueError},
};
use libfuzzer_sys::fuzz_target;

/// How many values are read at most.
const BUDGET: u64 = 20_000;

/// A value, without what means the same as nothing: empty texts and tables, and trailing NULLs.
#[derive(Debug, Eq, PartialEq)]
enum Tree {
    Absent,
    Int(u64),
    Blob(Vec<u8>),
    Array(Vec<Tree>),
    Object(Vec<Tree>),
}

fuzz_target!(|payload: &[u8]| {
    let Ok(tree) = read(payload) else { return };
    let mut builder = Builder::new();
    let root = tree.write(&mut builder);
    let payload = builder.finish(root).expect("it is no longer than it was");
    assert_eq!(read(&payload).as_ref(), Ok(&tree));
});

fn read(payload: &[u8]) -> Result<Tree, ValueError> {
    let reader = Reader::new(payload, BUDGET)?;
    let tree = Tree::read(reader.root());
    assert!(tree.as_ref().map_or(0, Tree::values) <= BUDGET);
    tree
}

/// Returns `None` if the value is of another type.
fn of_type<T>(read: Result<T, ValueError>) -> Result<Option<T>, ValueError> {
    match read {
        Err(ValueError::Type { .. }) => Ok(None),
        read => read.map(Some),
    }
}

impl Tree {
    fn read(value: Value<'_>) -> Result<Self, ValueError> {
        if let Some(number) = of_type(value.int())? {
            return Ok(number.map_or(Self::Absent, Self::Int));
        }
        if let Some(blob) = of_type(value.blob())? {
            return Ok(if blob.is_empty() { Self::Absent } else { Self::Blob(blob.to_vec()) });
        }
        let object = of_type(value.object())?;
        let table = object.map_or_else(|| value.array(), Ok)?;
        let trees = Self::read_table(table)?;
        Ok(match object {
            _ if trees.is_empty() => Self::Absent,
            Some(_) => Self::Object(trees),
            None => Self::Array(trees),
        })
    }

    fn read_table(table: Table<'_>) -> Result<Vec<Self>, ValueError> {
        let mut trees = table.iter().map(Self::read).collect::<Result<Vec<_>, _>>()?;
        let stored = trees.iter().rposition(|tree| *tree != Self::Absent);
        trees.truncate(stored.map_or(0, |last| last + 1));
        Ok(trees)
    }

    /// Returns how many values the tables have together.
    fn values(&self) -> u64 {
        match self {
            Self::Absent | Self::Int(_) | Self::Blob(_) => 0,
            Self::Array(trees) | Self::Object(trees) => {
                trees.iter().map(|tree| 1 + tree.values()).sum()
            }
        }
    }

    fn write(&self, builder: &mut Builder) -> Stored {
        let mut all =
            |trees: &[Self]| -> Vec<_> { trees.iter().map(|tree| tree.write(builder)).collect() };
        match self {
            Self::Absent => Stored::ABSENT,
            Self::Int(number) => builder.int(*number),
            Self::Blob(blob) => builder.blob(blob),
            Self::Array(trees) => {
                let values = all(trees);
                builder.array(&values)
            }
            Self::Object(trees) => {
                let values = all(trees);
                builder.object(&values)
            }
        }
    }
}
