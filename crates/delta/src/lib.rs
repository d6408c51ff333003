//! Rolling and strong checksums, signatures, block search and patching
