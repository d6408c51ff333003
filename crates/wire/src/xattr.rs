//! Extended attributes: the item of a list entry, the later exchange of long values, and the names under
//! which they are sent and stored (wire-files.md section 9).

mod storage;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use storage::XattrNamespaces;

use md5::{Digest, Md5};

use crate::{Cursor, Malformed, Stop, put_varint};

/// Longest value in bytes that travels with the list entry; of a longer one its checksum does.
pub const XATTR_INLINE_MAX: usize = 32;
/// Longest value in bytes that rsync accepts.
pub const XATTR_VALUE_MAX: usize = 128 << 20;

const MAX_COUNT: i32 = 65536;
/// Includes the terminating NUL.
const MAX_NAME: i32 = 4096;
/// Most bytes that the names and announced values of one item may have together.
const MAX_ITEM: u64 = 512 << 20;

/// One attribute of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Xattr {
    /// The wire name with its namespace (`user.x`), without terminator.
    pub name: Vec<u8>,
    /// What the list entry tells about the value.
    pub value: XattrValue,
}

/// A value of up to [`XATTR_INLINE_MAX`] bytes, or what stands for a longer one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum XattrValue {
    /// The value itself.
    Whole(Vec<u8>),
    /// The value's length in bytes and its MD5.
    Abbreviated {
        /// Length of the value.
        length: u32,
        /// MD5 over the value alone.
        digest: [u8; 16],
    },
}

/// The attributes of an entry, and the number of the item that they form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrItem {
    /// Number in the session, from 0. Given by the encoder; an entry to be encoded may hold anything.
    pub number: u32,
    /// The attributes in order of transmission; "attribute number" n is the n-th, from 1.
    pub attributes: Arc<[Xattr]>,
}

impl XattrItem {
    /// The item of the given wire names and values, in the order in which a sender lists them.
    #[must_use]
    pub fn of_values(mut values: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        values.sort();
        let attributes = values.into_iter().map(|(name, value)| Xattr {
            name,
            value: XattrValue::of(value),
        });
        Self {
            number: 0,
            attributes: attributes.collect(),
        }
    }
}

impl XattrValue {
    /// What a list entry tells about a value.
    #[must_use]
    pub fn of(value: Vec<u8>) -> Self {
        match u32::try_from(value.len()) {
            Ok(length) if value.len() > XATTR_INLINE_MAX => Self::Abbreviated {
                length,
                digest: xattr_digest(&value),
            },
            _ => Self::Whole(value),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Whole(value) => value.len(),
            Self::Abbreviated { length, .. } => *length as usize,
        }
    }
}

/// The checksum that stands for a long value: MD5, whatever the session has negotiated (9.3).
#[must_use]
pub fn xattr_digest(value: &[u8]) -> [u8; 16] {
    Md5::digest(value).into()
}

/// Items that a sender has numbered.
#[derive(Debug, Default)]
pub(crate) struct XattrsSent {
    numbers: HashMap<Arc<[Xattr]>, u32>,
}

impl XattrsSent {
    /// Writes an item, and answers its number.
    pub(crate) fn encode(&mut self, attributes: &Arc<[Xattr]>, out: &mut Vec<u8>) -> u32 {
        if let Some(&number) = self.numbers.get(attributes) {
            put_varint(out, number as i32 + 1);
            return number;
        }
        put_varint(out, 0);
        put_varint(out, attributes.len() as i32);
        for Xattr { name, value } in attributes.iter() {
            put_varint(out, name.len() as i32 + 1);
            put_varint(out, value.length() as i32);
            out.extend_from_slice(name);
            out.push(0);
            match value {
                XattrValue::Whole(value) => out.extend_from_slice(value),
                XattrValue::Abbreviated { digest, .. } => out.extend_from_slice(digest),
            }
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(Arc::clone(attributes), number);
        number
    }
}

/// Items that a receiver has seen, by number.
#[derive(Debug, Default)]
pub(crate) struct XattrsSeen {
    items: Vec<Arc<[Xattr]>>,
}

impl XattrsSeen {
    /// Reads an item. A new one becomes known through [`XattrsSeen::learn`] when its entry is complete.
    pub(crate) fn decode(&self, cursor: &mut Cursor<'_>) -> Result<XattrItem, Stop> {
        let number = cursor.varint()?;
        if number == 0 {
            let attributes = decode_attributes(cursor)?;
            return Ok(XattrItem {
                number: self.items.len() as u32,
                attributes,
            });
        }
        let known = usize::try_from(number - 1)
            .ok()
            .and_then(|index| self.items.get(index));
        let known = known.ok_or(Malformed::OutOfRange {
            what: "xattr index",
            value: number.into(),
        })?;
        Ok(XattrItem {
            number: number as u32 - 1,
            attributes: Arc::clone(known),
        })
    }

    pub(crate) fn learn(&mut self, item: &XattrItem) {
        if item.number as usize == self.items.len() {
            self.items.push(Arc::clone(&item.attributes));
        }
    }
}

fn decode_attributes(cursor: &mut Cursor<'_>) -> Result<Arc<[Xattr]>, Stop> {
    let count = bounded(cursor, "xattr count", 0..=MAX_COUNT)?;
    let mut announced = 0;
    let mut attribute = || {
        let name_length = bounded(cursor, "xattr name length", 1..=MAX_NAME)?;
        let length = bounded(cursor, "xattr value length", 0..=XATTR_VALUE_MAX as i32)?;
        announced += (name_length + length) as u64;
        if announced > MAX_ITEM {
            return Err(Malformed::OutOfRange {
                what: "xattr list size",
                value: announced as i64,
            }
            .into());
        }
        let (&terminator, name) = cursor
            .take(name_length)?
            .split_last()
            .ok_or(Stop::Incomplete)?;
        if terminator != 0 || name.contains(&0) {
            return Err(Malformed::XattrName.into());
        }
        let value = if length > XATTR_INLINE_MAX {
            XattrValue::Abbreviated {
                length: length as u32,
                digest: cursor.array()?,
            }
        } else {
            XattrValue::Whole(cursor.take(length)?.to_vec())
        };
        Ok(Xattr {
            name: name.to_vec(),
            value,
        })
    };
    // Collecting through `Result` allocates as attributes arrive, not as they are announced.
    (0..count).map(|_| attribute()).collect()
}

fn bounded(
    cursor: &mut Cursor<'_>,
    what: &'static str,
    range: std::ops::RangeInclusive<i32>,
) -> Result<usize, Stop> {
    let value = cursor.varint()?;
    let legal = usize::try_from(value)
        .ok()
        .filter(|_| range.contains(&value));
    legal.ok_or_else(|| {
        Malformed::OutOfRange {
            what,
            value: value.into(),
        }
        .into()
    })
}

/// Writes a request for the values of these attribute numbers (9.5). No number may follow itself.
pub fn encode_xattr_request(numbers: &[u32], out: &mut Vec<u8>) {
    let mut previous = 0;
    for &number in numbers {
        put_varint(out, number.wrapping_sub(previous) as i32);
        previous = number;
    }
    out.push(0);
}

/// Reads a request: attribute numbers in any order. [`XattrsOwed::request`] judges them.
///
/// # Errors
/// [`Stop`]; a number below 1 or above the most attributes that an item can have is malformed.
pub fn decode_xattr_request(cursor: &mut Cursor<'_>) -> Result<Vec<u32>, Stop> {
    let mut ahead = cursor.clone();
    let mut numbers = Vec::new();
    let mut previous = 0;
    while let Some(number) = next_number(&mut ahead, previous)? {
        // Each attribute can be asked for once, so a correct request ends here at the latest.
        if numbers.len() == MAX_COUNT as usize {
            return Err(Malformed::XattrRequest { number }.into());
        }
        numbers.push(number);
        previous = number;
    }
    *cursor = ahead;
    Ok(numbers)
}

/// Writes one value of an answer; `previous` is the number of the value before it, initially 0.
pub fn encode_xattr_answer(previous: u32, number: u32, value: &[u8], out: &mut Vec<u8>) {
    put_varint(out, number.wrapping_sub(previous) as i32);
    put_varint(out, value.len() as i32);
    out.extend_from_slice(value);
}

/// Ends an answer.
pub fn encode_xattr_answer_end(out: &mut Vec<u8>) {
    out.push(0);
}

/// Reads one value of an answer, or `None` at its end; `previous` is the number of the value before it,
/// initially 0. The length need not be the announced one.
///
/// # Errors
/// [`Stop`].
pub fn decode_xattr_answer<'a>(
    cursor: &mut Cursor<'a>,
    previous: u32,
) -> Result<Option<(u32, &'a [u8])>, Stop> {
    let mut ahead = cursor.clone();
    let value = match next_number(&mut ahead, previous)? {
        Some(number) => {
            let length = bounded(&mut ahead, "xattr value length", 0..=XATTR_VALUE_MAX as i32)?;
            Some((number, ahead.take(length)?))
        }
        None => None,
    };
    *cursor = ahead;
    Ok(value)
}

fn next_number(cursor: &mut Cursor<'_>, previous: u32) -> Result<Option<u32>, Stop> {
    let delta = cursor.varint()?;
    if delta == 0 {
        return Ok(None);
    }
    let number = i64::from(previous) + i64::from(delta);
    match u32::try_from(number) {
        Ok(number) if (1..=MAX_COUNT as u32).contains(&number) => Ok(Some(number)),
        _ => Err(Malformed::OutOfRange {
            what: "xattr number",
            value: number,
        }
        .into()),
    }
}

/// What a sender still owes: attribute numbers that were requested and not yet delivered.
///
/// They are state of the item, not of the request: a request that ends with "no send" leaves its
/// numbers open for the next answer with the same item (9.5).
#[derive(Debug, Default)]
pub struct XattrsOwed {
    requested: HashSet<(u32, u32)>,
    open: HashMap<u32, Vec<u32>>,
}

impl XattrsOwed {
    /// Notes a request for values of an item.
    ///
    /// # Errors
    /// [`Malformed::XattrRequest`] if a number does not exist, is not abbreviated or was requested before.
    pub fn request(&mut self, item: &XattrItem, numbers: &[u32]) -> Result<(), Malformed> {
        for &number in numbers {
            let attribute = (number as usize)
                .checked_sub(1)
                .and_then(|index| item.attributes.get(index));
            let abbreviated =
                attribute.is_some_and(|it| matches!(it.value, XattrValue::Abbreviated { .. }));
            if !abbreviated || !self.requested.insert((item.number, number)) {
                return Err(Malformed::XattrRequest { number });
            }
            self.open.entry(item.number).or_default().push(number);
        }
        Ok(())
    }

    /// The numbers that the next answer for an entry with this item delivers, ascending.
    pub fn deliver(&mut self, item: u32) -> Vec<u32> {
        let mut numbers = self.open.remove(&item).unwrap_or_default();
        numbers.sort_unstable();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_and_short() -> XattrItem {
        let long = (b"user.long".to_vec(), vec![b'L'; 40]);
        XattrItem::of_values(vec![
            (b"user.short".to_vec(), b"short value".to_vec()),
            long,
        ])
    }

    #[test]
    fn items_are_sent_once_and_numbered() {
        let item = long_and_short();
        let mut sent = XattrsSent::default();
        let mut out = Vec::new();
        assert_eq!(sent.encode(&item.attributes, &mut out), 0);
        let expected = [
            b"\x00\x02\x0a\x28user.long\0".as_slice(),
            &xattr_digest(&[b'L'; 40]),
            b"\x0b\x0buser.short\0short value",
        ];
        assert_eq!(out, expected.concat());

        let mut seen = XattrsSeen::default();
        let received = seen.decode(&mut Cursor::new(&out)).unwrap();
        assert_eq!(received, item);
        seen.learn(&received);
        let mut again = Vec::new();
        assert_eq!(sent.encode(&item.attributes, &mut again), 0);
        assert_eq!(again, b"\x01");
        assert_eq!(seen.decode(&mut Cursor::new(&again)), Ok(item));
        assert_eq!(sent.encode(&Arc::from([]), &mut again), 1);
        assert_eq!(
            seen.decode(&mut Cursor::new(&again[1..])).unwrap().number,
            1
        );
    }

    #[test]
    fn hostile_items_are_refused() {
        let refused = |bytes: &[u8]| match XattrsSeen::default().decode(&mut Cursor::new(bytes)) {
            Err(Stop::Malformed(malformed)) => malformed,
            other => panic!("{other:?}"),
        };
        let out_of_range = |what, value| Malformed::OutOfRange { what, value };
        assert_eq!(refused(b"\x01"), out_of_range("xattr index", 1));
        assert_eq!(
            refused(b"\x00\xf0\xff\xff\xff\xff"),
            out_of_range("xattr count", -1)
        );
        assert_eq!(
            refused(b"\x00\x01\x00\x00"),
            out_of_range("xattr name length", 0)
        );
        assert_eq!(
            refused(b"\x00\x01\x90\x01\x00"),
            out_of_range("xattr name length", 0x1001)
        );
        assert_eq!(
            refused(b"\x00\x01\x01\xe8\x01\x00\x00"),
            out_of_range("xattr value length", 0x0800_0001)
        );
        assert_eq!(refused(b"\x00\x01\x02\x00ab"), Malformed::XattrName);
    }

    #[test]
    fn requests_go_in_any_order() {
        let mut out = Vec::new();
        encode_xattr_request(&[2, 1], &mut out);
        assert_eq!(out, b"\x02\xf0\xff\xff\xff\xff\x00");
        assert_eq!(decode_xattr_request(&mut Cursor::new(&out)), Ok(vec![2, 1]));
        for cut in 0..out.len() {
            assert_eq!(
                decode_xattr_request(&mut Cursor::new(&out[..cut])),
                Err(Stop::Incomplete)
            );
        }
        let negative = b"\x01\xf0\xff\xff\xff\xff\x00";
        assert!(matches!(
            decode_xattr_request(&mut Cursor::new(negative)),
            Err(Stop::Malformed(_))
        ));
    }

    #[test]
    fn answers_carry_values_of_any_length() {
        let mut out = Vec::new();
        encode_xattr_answer(0, 1, b"one", &mut out);
        encode_xattr_answer(1, 3, b"", &mut out);
        encode_xattr_answer_end(&mut out);
        let mut cursor = Cursor::new(&out);
        assert_eq!(
            decode_xattr_answer(&mut cursor, 0),
            Ok(Some((1, b"one".as_slice())))
        );
        assert_eq!(
            decode_xattr_answer(&mut cursor, 1),
            Ok(Some((3, b"".as_slice())))
        );
        assert_eq!(decode_xattr_answer(&mut cursor, 3), Ok(None));
    }

    #[test]
    fn a_sender_owes_each_value_once() {
        let item = long_and_short();
        let mut owed = XattrsOwed::default();
        assert_eq!(
            owed.request(&item, &[2]),
            Err(Malformed::XattrRequest { number: 2 })
        );
        assert_eq!(
            owed.request(&item, &[3]),
            Err(Malformed::XattrRequest { number: 3 })
        );
        assert_eq!(owed.request(&item, &[1]), Ok(()));
        assert_eq!(
            owed.request(&item, &[1]),
            Err(Malformed::XattrRequest { number: 1 })
        );
        assert_eq!(owed.deliver(0), [1]);
        assert_eq!(owed.deliver(0), []);
    }
}
