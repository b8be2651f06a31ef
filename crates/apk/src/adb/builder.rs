//! Writes the tree of values in the payload of an ADB block (see [`super::value`]).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher as _},
};

use super::value::{
    HEADER_LENGTH, ROOT, TYPE_ARRAY, TYPE_BLOB_8, TYPE_BLOB_16, TYPE_BLOB_32, TYPE_INT,
    TYPE_INT_32, TYPE_INT_64, TYPE_OBJECT,
};

/// A payload must be shorter than this: its offsets have 28 bits, and apk refuses it (measured).
const MAX_LENGTH: usize = 1 << 28;

/// A value of a [`Builder`]: absent, a number, or where it is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stored(u32);

impl Stored {
    /// The value that is absent.
    pub const ABSENT: Self = Self(0);
}

/// The payload has 2^28 bytes or more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the metadata takes {MAX_LENGTH} bytes or more, which apk does not read")]
pub struct TooLarge;

/// Writes values, children before the tables that hold them.
///
/// Equal runs of bytes are stored once: texts, bytes, and tables whose values are the same, as apk
/// does. The same calls give the same payload.
#[derive(Debug)]
pub struct Builder {
    payload: Vec<u8>,
    /// Where a run of bytes with this hash begins, and its length. A run is not copied to be a key;
    /// of two with the same hash, the later is found.
    runs: HashMap<u64, (usize, usize)>,
    /// A run that is being put together.
    run: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Begins a payload.
    pub fn new() -> Self {
        Self { payload: vec![0; HEADER_LENGTH], runs: HashMap::new(), run: Vec::new() }
    }

    /// Writes bytes or a text. None is absent: apk writes no empty one.
    pub fn blob(&mut self, bytes: &[u8]) -> Stored {
        self.run.clear();
        let (kind, alignment) = if bytes.is_empty() {
            return Stored::ABSENT;
        } else if let Ok(length) = u8::try_from(bytes.len()) {
            self.run.push(length);
            (TYPE_BLOB_8, 1)
        } else if let Ok(length) = u16::try_from(bytes.len()) {
            self.run.extend(length.to_le_bytes());
            (TYPE_BLOB_16, 2)
        } else {
            // A length beyond 32 bits makes the payload too large as well.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.run.extend(length.to_le_bytes());
            (TYPE_BLOB_32, 4)
        };
        self.run.extend_from_slice(bytes);
        self.store(kind, alignment)
    }

    /// Writes a number. 0 is a number, too.
    pub fn int(&mut self, number: u64) -> Stored {
        match u32::try_from(number) {
            Ok(small) if small >> 28 == 0 => Stored(TYPE_INT << 28 | small),
            Ok(small) => {
                self.run.clear();
                self.run.extend(small.to_le_bytes());
                self.store(TYPE_INT_32, 4)
            }
            Err(_) => {
                self.run.clear();
                self.run.extend(number.to_le_bytes());
                self.store(TYPE_INT_64, 4)
            }
        }
    }

    /// Writes an array of values.
    pub fn array(&mut self, values: &[Stored]) -> Stored {
        self.table(TYPE_ARRAY, values)
    }

    /// Writes an object. The first value is that of slot 1; absent ones at the end are not stored,
    /// and an object without any is absent.
    pub fn object(&mut self, slots: &[Stored]) -> Stored {
        self.table(TYPE_OBJECT, slots)
    }

    fn table(&mut self, kind: u32, values: &[Stored]) -> Stored {
        let stored = values.iter().rposition(|value| *value != Stored::ABSENT);
        let Some(values) = stored.and_then(|last| values.get(..=last)) else {
            return Stored::ABSENT;
        };
        let count = u32::try_from(values.len() + 1).unwrap_or(u32::MAX);
        self.run.clear();
        self.run.extend(count.to_le_bytes());
        self.run.extend(values.iter().flat_map(|value| value.0.to_le_bytes()));
        self.store(kind, 4)
    }

    /// Stores the current run, or finds it where it is stored.
    fn store(&mut self, kind: u32, alignment: usize) -> Stored {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.run);
        let hash = hasher.finish();
        let length = self.run.len();
        let known = self.runs.get(&hash).filter(|(offset, known)| {
            offset.is_multiple_of(alignment)
                && self.payload.get(*offset..offset + known) == Some(&*self.run)
        });
        let offset = if let Some((offset, _)) = known {
            *offset
        } else {
            let offset = self.payload.len().next_multiple_of(alignment);
            self.payload.resize(offset, 0);
            self.payload.extend_from_slice(&self.run);
            self.runs.insert(hash, (offset, length));
            offset
        };
        // If this does not fit, neither does the payload.
        Stored(kind << 28 | u32::try_from(offset % MAX_LENGTH).unwrap_or_default())
    }

    /// Ends the payload, whose tree has this root.
    ///
    /// # Errors
    ///
    /// [`TooLarge`].
    pub fn finish(self, root: Stored) -> Result<Vec<u8>, TooLarge> {
        let Self { mut payload, .. } = self;
        if payload.len() >= MAX_LENGTH {
            return Err(TooLarge);
        }
        let root = root.0.to_le_bytes();
        payload.iter_mut().skip(ROOT).zip(root).for_each(|(to, byte)| *to = byte);
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adb::value::Reader;

    fn words(payload: &[u8]) -> Vec<u32> {
        payload.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    #[test]
    fn equal_runs_are_stored_once() {
        let mut builder = Builder::new();
        let a = builder.blob(b"abc");
        let b = builder.blob(b"abc");
        assert_eq!(a, b);
        let inner = builder.object(&[a, Stored::ABSENT, b]);
        assert_eq!(builder.array(&[a, Stored::ABSENT, b]).0 & 0xfff_ffff, inner.0 & 0xfff_ffff);
        let root = builder.object(&[inner, inner]);
        let payload = builder.finish(root).unwrap();
        assert_eq!(payload.len(), 8 + 4 + 16 + 12);
        assert_eq!(
            words(&payload)[1..],
            [0xe000_001c, 0x6362_6103, 4, 0x8000_0008, 0, 0x8000_0008, 3, 0xe000_000c, 0xe000_000c]
        );
    }

    #[test]
    fn a_run_that_is_not_aligned_is_stored_again() {
        let mut builder = Builder::new();
        builder.blob(b"x");
        assert_eq!(builder.blob(&[1, 2, 0x10]), Stored(0x8000_000a));
        // The same four bytes as a number.
        assert_eq!(builder.int(0x1002_0103), Stored(0x2000_0010));
        assert_eq!(builder.blob(&[1, 2, 0x10]), Stored(0x8000_0010), "the better aligned one");
    }

    #[test]
    fn what_is_empty_is_absent() {
        let mut builder = Builder::new();
        let empty = [builder.blob(b""), builder.array(&[]), builder.object(&[Stored::ABSENT; 3])];
        assert_eq!(empty, [Stored::ABSENT; 3]);
        assert_ne!(builder.int(0), Stored::ABSENT);
        assert_eq!(builder.finish(Stored::ABSENT).unwrap(), [0; 8]);
    }

    #[test]
    fn a_payload_that_apk_does_not_read_is_refused() {
        let mut builder = Builder::new();
        let _filling = builder.blob(&vec![0; MAX_LENGTH - HEADER_LENGTH - 4]);
        assert_eq!(builder.finish(Stored::ABSENT), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            blobs: Vec<Vec<u8>>,
            numbers: Vec<u64>,
            length in prop::sample::select(vec![0_usize, 1, 255, 256, 65_535, 65_536])
        ) {
            let mut builder = Builder::new();
            let long = vec![7; length];
            let long_blob = builder.blob(&long);
            let texts: Vec<_> = blobs.iter().map(|blob| builder.blob(blob)).collect();
            let texts = builder.array(&texts);
            let ints: Vec<_> = numbers.iter().map(|number| builder.int(*number)).collect();
            let ints = builder.array(&ints);
            let root = builder.object(&[long_blob, texts, ints]);
            let payload = builder.finish(root).unwrap();
            let reader = Reader::new(&payload, 100_000).unwrap();
            let root = reader.root().object().unwrap();
            prop_assert_eq!(root.get(1).blob(), Ok(&*long));
            let texts = root.get(2).array().unwrap();
            for (index, blob) in blobs.iter().enumerate() {
                prop_assert_eq!(texts.get(index + 1).blob(), Ok(&**blob));
            }
            let ints = root.get(3).array().unwrap();
            for (index, number) in numbers.iter().enumerate() {
                prop_assert_eq!(ints.get(index + 1).int(), Ok(Some(*number)));
            }
        }
    }
}
