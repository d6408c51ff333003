//! One entry for each decoder: it takes any bytes, must not panic, and asserts what the decoder promises.
//!
//! The fuzz targets call these; the ordinary tests run them over random bytes.

mod files;
mod session;

pub use files::*;
pub use session::*;

use crate::{Cursor, Stop};

/// The name of an entry and the entry.
pub type Target = (&'static str, fn(&[u8]));

/// Whether a decoder's "incomplete" holds: a value that was decoded from `data` is not found in a shorter
/// prefix, and one that is incomplete has consumed nothing.
fn assert_needs_all<T>(
    data: &[u8],
    mut decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
) -> Option<T> {
    let mut cursor = Cursor::new(data);
    match decode(&mut cursor) {
        Ok(value) => {
            if let Some(shorter) = cursor.position().checked_sub(1) {
                let mut cut = Cursor::new(&data[..shorter]);
                assert!(
                    matches!(decode(&mut cut), Err(Stop::Incomplete)),
                    "a prefix is a value too"
                );
                assert_eq!(
                    cut.position(),
                    0,
                    "bytes of an incomplete value were consumed"
                );
            }
            Some(value)
        }
        Err(_) => {
            assert_eq!(cursor.position(), 0, "bytes were consumed without a value");
            None
        }
    }
}

/// Whether a value survives being written and read again.
fn assert_round_trip<T: PartialEq + std::fmt::Debug>(
    value: &T,
    encode: impl FnOnce(&T, &mut Vec<u8>),
    decode: impl FnOnce(&mut Cursor<'_>) -> Result<T, Stop>,
) {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    let mut cursor = Cursor::new(&bytes);
    assert_eq!(decode(&mut cursor).as_ref(), Ok(value));
    assert!(cursor.rest().is_empty(), "more was written than read");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes with more of those that mean something than chance would have.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![4 => any::<u8>(), 2 => 0..8_u8, 1 => Just(0xff_u8), 1 => Just(b' '), 1 => Just(b'\n')];
        proptest::collection::vec(byte, 0..200)
    }

    proptest! {
        #[test]
        fn session_decoders_survive_any_bytes(data in bytes()) {
            for (_, target) in SESSION_TARGETS {
                target(&data);
            }
        }
    }
}
