//! The tree of values in the payload of an ADB block.
//!
//! ```text
//! payload  0: compat:u8, 0   1: version:u8   2: reserved:u16   4: root value   8: data
//! value    type in the upper 4 bits; a number or an offset into the payload in the lower 28
//! table    count:u32, this one included; the values
//! ```
//!
//! An object is a table whose *n*-th value is its slot *n*; trailing slots that are absent are not
//! stored. Absent texts, arrays and objects are the same as empty ones (apk-v3(5)).
//!
//! The reader here is strict where apk takes what it does not expect for absent (measured on
//! apk-tools 3.0.8): the type of each value must be the expected one, and its offset within the
//! payload, aligned, and below that of the table that holds the value, as all writers have it. So
//! no table can hold itself, and reading always ends; a budget bounds how long that takes, since
//! many tables may share one. Unused space, slots without a meaning and longer forms than needed
//! are tolerated.

use std::cell::Cell;

use crate::text::Excerpt;

/// A value that is absent, in the upper 4 bits: NULL, true and false, of which only NULL is used.
pub const TYPE_SPECIAL: u32 = 0;
/// A number below 2^28, which stands in the value itself.
pub const TYPE_INT: u32 = 1;
/// A number of 4 bytes, aligned to 4.
pub const TYPE_INT_32: u32 = 2;
/// A number of 8 bytes, aligned to 4.
pub const TYPE_INT_64: u32 = 3;
/// Bytes after a length of one byte.
pub const TYPE_BLOB_8: u32 = 8;
/// Bytes after a length of two bytes, aligned to 2.
pub const TYPE_BLOB_16: u32 = 9;
/// Bytes after a length of four bytes, aligned to 4.
pub const TYPE_BLOB_32: u32 = 10;
/// A table, aligned to 4. apk writes this type for few arrays, and the other for most.
pub const TYPE_ARRAY: u32 = 13;
/// A table, aligned to 4.
pub const TYPE_OBJECT: u32 = 14;

/// The length of a payload before its data.
pub const HEADER_LENGTH: usize = 8;
/// Where the root value is.
pub const ROOT: usize = 4;
/// The maximum number of tables within each other, the root included. Seven are needed: the
/// extended attributes of a file in a package.
pub const MAX_DEPTH: usize = 8;

/// How many bytes of a blob count as much as one value of a table in the budget of a [`Reader`].
const BYTES_PER_VALUE: usize = 64;

/// Why a payload can't be read.
///
/// A position is that of the value, counted in bytes from the beginning of the payload.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The payload is too short for its own header.
    #[error("the metadata has {length} bytes, fewer than its header")]
    Short {
        /// Its length.
        length: usize,
    },
    /// The payload is of a version that no apk reads.
    #[error("the metadata needs a reader of version {compat}, which no apk is yet")]
    Compat {
        /// The version.
        compat: u8,
    },
    /// A value is not of the expected type.
    #[error("the value at byte {position} of the metadata is not {wanted}")]
    Type {
        /// Where the value is.
        position: usize,
        /// What it should be.
        wanted: &'static str,
    },
    /// A table does not count itself.
    #[error("the table of the value at byte {position} of the metadata has a count of 0")]
    Count {
        /// Where the value is.
        position: usize,
    },
    /// A value lies outside the payload or in its header.
    #[error("the value at byte {position} of the metadata lies outside of it")]
    Outside {
        /// Where the value is.
        position: usize,
    },
    /// A value points to its own table or behind it.
    #[error("the value at byte {position} of the metadata does not lie before its own table")]
    Order {
        /// Where the value is.
        position: usize,
    },
    /// A value points to an offset that is not a multiple of what it should be.
    #[error("the value at byte {position} of the metadata is not aligned")]
    Alignment {
        /// Where the value is.
        position: usize,
    },
    /// Tables are nested too deeply.
    #[error("the value at byte {position} of the metadata is nested deeper than {MAX_DEPTH}")]
    Depth {
        /// Where the value is.
        position: usize,
    },
    /// There are too many values, some of them shared perhaps.
    #[error("the metadata has more values than the {max} that are read at most")]
    Budget {
        /// The limit.
        max: u64,
    },
    /// A text is not UTF-8.
    #[error("the text `{text}` in the metadata is not UTF-8")]
    Encoding {
        /// The text.
        text: Excerpt,
    },
}

/// Reads the values of one payload.
#[derive(Debug)]
pub struct Reader<'a> {
    payload: &'a [u8],
    max: u64,
    left: Cell<u64>,
}

impl<'a> Reader<'a> {
    /// Reads the header of a payload. `budget` is how many values may be read; a value that is
    /// shared counts each time, and 64 bytes of a blob count as one more value.
    ///
    /// # Errors
    ///
    /// [`ValueError::Short`], [`ValueError::Compat`]. The other version number and the reserved
    /// bytes mean nothing to apk (measured).
    pub fn new(payload: &'a [u8], budget: u64) -> Result<Self, ValueError> {
        match payload.get(..HEADER_LENGTH) {
            None => Err(ValueError::Short { length: payload.len() }),
            Some(&[0, ..]) => Ok(Self { payload, max: budget, left: Cell::new(budget) }),
            Some(header) => {
                Err(ValueError::Compat { compat: header.first().copied().unwrap_or_default() })
            }
        }
    }

    /// Returns the root.
    pub fn root(&self) -> Value<'_> {
        let word = bytes_at(self.payload, ROOT).map_or(0, |word| u32::from_le_bytes(*word));
        Value { reader: self, word, position: ROOT, below: self.payload.len(), depth: 0 }
    }

    fn spend(&self, values: u64) -> Result<(), ValueError> {
        let left = self.left.get().checked_sub(values);
        self.left.set(left.ok_or(ValueError::Budget { max: self.max })?);
        Ok(())
    }
}

/// A value: it may be absent, or of any type, until one of its methods reads it.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    reader: &'a Reader<'a>,
    word: u32,
    position: usize,
    /// What it refers to must lie below this offset.
    below: usize,
    /// How many tables it is in.
    depth: usize,
}

/// An array or an object.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    reader: &'a Reader<'a>,
    slots: &'a [[u8; 4]],
    offset: usize,
    depth: usize,
}

impl<'a> Value<'a> {
    /// Returns whether it is absent: not stored, or NULL.
    pub fn is_absent(self) -> bool {
        self.word == 0
    }

    /// Reads a number; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`ValueError`], for any other value.
    pub fn int(self) -> Result<Option<u64>, ValueError> {
        Ok(match self.kind() {
            _ if self.is_absent() => None,
            TYPE_INT => Some(u64::from(self.lower_bits())),
            TYPE_INT_32 => Some(u32::from_le_bytes(*self.stored(4)?).into()),
            TYPE_INT_64 => Some(u64::from_le_bytes(*self.stored(4)?)),
            _ => return Err(self.is_not("a number")),
        })
    }

    /// Reads bytes; none if it is absent.
    ///
    /// # Errors
    ///
    /// [`ValueError`], for any other value.
    pub fn blob(self) -> Result<&'a [u8], ValueError> {
        let (header, length) = match self.kind() {
            _ if self.is_absent() => return Ok(&[]),
            TYPE_BLOB_8 => (1, u8::from_le_bytes(*self.stored(1)?).into()),
            TYPE_BLOB_16 => (2, u16::from_le_bytes(*self.stored(2)?).into()),
            TYPE_BLOB_32 => (4, u32::from_le_bytes(*self.stored(4)?)),
            _ => return Err(self.is_not("a text or bytes")),
        };
        let after = self.reader.payload.get(self.offset() + header..).unwrap_or_default();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let blob = after.get(..length).ok_or(ValueError::Outside { position: self.position })?;
        self.reader.spend((length / BYTES_PER_VALUE) as u64)?;
        Ok(blob)
    }

    /// Reads a text; an empty one if it is absent.
    ///
    /// # Errors
    ///
    /// [`ValueError`], for any other value.
    pub fn text(self) -> Result<&'a str, ValueError> {
        let blob = self.blob()?;
        str::from_utf8(blob).map_err(|_| ValueError::Encoding { text: Excerpt::of(blob) })
    }

    /// Reads an object; an empty one if it is absent.
    ///
    /// # Errors
    ///
    /// [`ValueError`], for any other value.
    pub fn object(self) -> Result<Table<'a>, ValueError> {
        match self.kind() {
            _ if self.is_absent() => Ok(self.empty_table()),
            TYPE_OBJECT => self.table(),
            _ => Err(self.is_not("an object")),
        }
    }

    /// Reads an array; an empty one if it is absent. It may be stored as an object, as apk does.
    ///
    /// # Errors
    ///
    /// [`ValueError`], for any other value.
    pub fn array(self) -> Result<Table<'a>, ValueError> {
        match self.kind() {
            _ if self.is_absent() => Ok(self.empty_table()),
            TYPE_ARRAY | TYPE_OBJECT => self.table(),
            _ => Err(self.is_not("an array")),
        }
    }

    fn table(self) -> Result<Table<'a>, ValueError> {
        let position = self.position;
        if self.depth >= MAX_DEPTH {
            return Err(ValueError::Depth { position });
        }
        let count = u32::from_le_bytes(*self.stored(4)?);
        let slots = count.checked_sub(1).ok_or(ValueError::Count { position })?;
        let slots = usize::try_from(slots).unwrap_or(usize::MAX);
        let after = self.reader.payload.get(self.offset() + 4..).unwrap_or_default();
        let (words, _) = after.as_chunks::<4>();
        let slots = words.get(..slots).ok_or(ValueError::Outside { position })?;
        self.reader.spend(slots.len() as u64)?;
        Ok(Table { slots, offset: self.offset(), depth: self.depth + 1, ..self.empty_table() })
    }

    fn empty_table(self) -> Table<'a> {
        Table { reader: self.reader, slots: &[], offset: 0, depth: self.depth }
    }

    fn kind(self) -> u32 {
        self.word >> 28
    }

    fn lower_bits(self) -> u32 {
        self.word & 0x0fff_ffff
    }

    fn offset(self) -> usize {
        usize::try_from(self.lower_bits()).unwrap_or(usize::MAX)
    }

    /// Returns the first bytes of what it refers to, if that lies where it may.
    fn stored<const N: usize>(self, alignment: usize) -> Result<&'a [u8; N], ValueError> {
        let (offset, position) = (self.offset(), self.position);
        if !offset.is_multiple_of(alignment) {
            return Err(ValueError::Alignment { position });
        }
        let stored = bytes_at(self.reader.payload, offset).filter(|_| offset >= HEADER_LENGTH);
        let stored = stored.ok_or(ValueError::Outside { position })?;
        if offset < self.below { Ok(stored) } else { Err(ValueError::Order { position }) }
    }

    fn is_not(self, wanted: &'static str) -> ValueError {
        ValueError::Type { position: self.position, wanted }
    }
}

impl<'a> Table<'a> {
    /// Returns the value of a slot, counted from 1: an absent one, if the table is shorter.
    pub fn get(self, slot: usize) -> Value<'a> {
        let word = slot.checked_sub(1).and_then(|index| self.slots.get(index));
        let word = word.map_or(0, |word| u32::from_le_bytes(*word));
        let Self { reader, offset, depth, .. } = self;
        Value { reader, word, position: offset + 4 * slot, below: offset, depth }
    }

    /// Returns how many slots are stored.
    pub fn len(self) -> usize {
        self.slots.len()
    }

    /// Returns whether no slot is stored.
    pub fn is_empty(self) -> bool {
        self.slots.is_empty()
    }

    /// Returns all values that are stored, in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        (1..=self.len()).map(move |slot| self.get(slot))
    }
}

fn bytes_at<const N: usize>(payload: &[u8], offset: usize) -> Option<&[u8; N]> {
    payload.get(offset..)?.first_chunk()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A payload of these words after its header, the first of which is the root.
    fn payload(words: &[u32]) -> Vec<u8> {
        let words = [&[0], words].concat();
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// The word of a value of type `kind` at `offset`.
    fn at(kind: u32, offset: u32) -> u32 {
        kind << 28 | offset
    }

    #[rstest]
    #[case::absent(&[0], None)]
    #[case::zero(&[at(TYPE_INT, 0)], Some(0))]
    #[case::immediate(&[at(TYPE_INT, 0x0fff_ffff)], Some(0x0fff_ffff))]
    #[case::of_four_bytes(&[at(TYPE_INT_32, 8), u32::MAX], Some(0xffff_ffff))]
    #[case::of_eight_bytes(&[at(TYPE_INT_64, 8), 1, 2], Some(0x2_0000_0001))]
    fn a_number_has_three_forms(#[case] words: &[u32], #[case] number: Option<u64>) {
        let payload = payload(words);
        let reader = Reader::new(&payload, 0).unwrap();
        assert_eq!(reader.root().int(), Ok(number));
    }

    #[rstest]
    #[case::absent(&[0], "")]
    #[case::empty(&[at(TYPE_BLOB_8, 8), 0], "")]
    #[case::of_8_bits(&[at(TYPE_BLOB_8, 8), u32::from_le_bytes(*b"\x03abc")], "abc")]
    #[case::unaligned(&[at(TYPE_BLOB_8, 9), u32::from_le_bytes(*b"?\x02ab")], "ab")]
    #[case::of_16_bits(&[at(TYPE_BLOB_16, 8), u32::from_le_bytes(*b"\x02\0ab")], "ab")]
    #[case::of_32_bits(&[at(TYPE_BLOB_32, 8), 4, u32::from_le_bytes(*b"abcd")], "abcd")]
    fn a_text_has_three_forms(#[case] words: &[u32], #[case] text: &str) {
        let payload = payload(words);
        let reader = Reader::new(&payload, 0).unwrap();
        assert_eq!(reader.root().text(), Ok(text));
    }

    #[rstest]
    #[case::number_as_text(&[at(TYPE_BLOB_8, 8), 0], "not an object")]
    #[case::nothing_special(&[1], "not an object")]
    #[case::error(&[at(15, 8), 0], "not an object")]
    #[case::in_the_header(&[at(TYPE_OBJECT, 4), 1], "lies outside")]
    #[case::at_the_end(&[at(TYPE_OBJECT, 12), 1], "lies outside")]
    #[case::beyond_the_end(&[at(TYPE_OBJECT, 8), 3, 0], "lies outside")]
    #[case::of_the_greatest_count(&[at(TYPE_OBJECT, 8), u32::MAX], "lies outside")]
    #[case::count_of_nothing(&[at(TYPE_OBJECT, 8), 0], "a count of 0")]
    #[case::not_aligned(&[at(TYPE_OBJECT, 9), 1, 1], "not aligned")]
    #[case::in_itself(&[at(TYPE_OBJECT, 8), 2, at(TYPE_OBJECT, 8)], "not lie before")]
    #[case::behind_its_table(&[at(TYPE_OBJECT, 8), 2, at(TYPE_OBJECT, 16), 1], "not lie before")]
    #[case::more_than_the_budget(&[at(TYPE_OBJECT, 8), 4, 0, 0, 0], "more values than the 2")]
    fn an_object_that_no_writer_makes_is_refused(#[case] words: &[u32], #[case] message: &str) {
        let payload = payload(words);
        let reader = Reader::new(&payload, 2).unwrap();
        let first = reader.root().object().and_then(|root| root.get(1).object());
        let error = first.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[rstest]
    #[case::beyond_the_end(&[at(TYPE_BLOB_8, 8), 4], "lies outside")]
    #[case::of_the_greatest_length(&[at(TYPE_BLOB_32, 8), u32::MAX], "lies outside")]
    #[case::not_aligned_to_2(&[at(TYPE_BLOB_16, 9), 0], "not aligned")]
    #[case::not_aligned_to_4(&[at(TYPE_BLOB_32, 10), 0, 0], "not aligned")]
    #[case::number(&[at(TYPE_INT, 8), 0], "not a text")]
    #[case::not_utf_8(&[at(TYPE_BLOB_8, 8), u32::from_le_bytes(*b"\x01\xff\0\0")], "not UTF-8")]
    fn a_text_that_no_writer_makes_is_refused(#[case] words: &[u32], #[case] message: &str) {
        let payload = payload(words);
        let reader = Reader::new(&payload, 0).unwrap();
        let error = reader.root().text().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_slot_that_is_not_stored_is_absent() {
        let payload = payload(&[at(TYPE_ARRAY, 8), 3, at(TYPE_INT, 7), 0]);
        let reader = Reader::new(&payload, 2).unwrap();
        let table = reader.root().array().unwrap();
        assert_eq!(table.iter().map(Value::int).collect::<Vec<_>>(), [Ok(Some(7)), Ok(None)]);
        assert!(table.get(0).is_absent() && table.get(3).is_absent());
        assert!(reader.root().object().is_err(), "an array is not an object");
    }

    #[test]
    fn tables_are_nested_to_a_limited_depth() {
        let tables = |count: u32| -> Vec<u32> {
            let inner = (0..count).map(|table| [2, at(TYPE_OBJECT, table * 8)]);
            let inner = inner.flatten().skip(2);
            [at(TYPE_OBJECT, 8 * count), 1, 0].into_iter().chain(inner).collect()
        };
        let depth = |payload: &[u8]| {
            let reader = Reader::new(payload, 1000).unwrap();
            let (mut value, mut depth) = (reader.root(), 0);
            while !value.is_absent() {
                value = value.object()?.get(1);
                depth += 1;
            }
            Ok(depth)
        };
        assert_eq!(depth(&payload(&tables(8))), Ok(8));
        assert!(matches!(depth(&payload(&tables(9))), Err(ValueError::Depth { .. })));
    }

    #[test]
    fn the_length_of_a_blob_counts_in_the_budget() {
        let blob = [&[at(TYPE_BLOB_32, 8), 128][..], &[0; 32]].concat();
        let payload = payload(&blob);
        assert!(Reader::new(&payload, 2).unwrap().root().blob().is_ok());
        let reader = Reader::new(&payload, 1).unwrap();
        assert_eq!(reader.root().blob(), Err(ValueError::Budget { max: 1 }));
    }

    #[test]
    fn a_payload_begins_with_a_header() {
        let error = Reader::new(&[0; 7], 1).unwrap_err();
        assert_eq!(error, ValueError::Short { length: 7 });
        let error = Reader::new(&[1, 0, 0, 0, 0, 0, 0, 0], 1).unwrap_err();
        assert_eq!(error, ValueError::Compat { compat: 1 });
        assert!(Reader::new(&[0, 255, 1, 2, 0, 0, 0, 0], 1).unwrap().root().is_absent());
    }
}
