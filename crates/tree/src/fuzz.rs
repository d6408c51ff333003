//! What others may have written on a disk: any bytes are a value or damaged, and what is read is written alike.
//!
//! The fuzz target calls this; the ordinary tests replay its corpus.

use crate::{Acl, AclKind, FakeStat};

/// Values of the attributes in which `--fake-super` keeps what it cannot give.
pub fn fuzz_fake_super(value: &[u8]) {
    if let Some(stat) = FakeStat::parse(value) {
        assert_eq!(FakeStat::parse(stat.to_string().as_bytes()), Some(stat));
    }
    if let Some(acl) = Acl::from_fake_super(value, 0o640) {
        let written = acl.to_fake_super(AclKind::Default);
        assert_eq!(Acl::from_fake_super(&written, 0), Some(acl));
    }
}
