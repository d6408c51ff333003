//! Checksums of a session: which algorithm and seed, and over which bytes (wire-files.md 11).

use std::io::Read;
use std::path::Path;

use delta::{Algorithm, BadBlocks, Blocks, FileSum, Signature, StrongSum};
use tree::Root;
use wire::{Checksum, CompatFlags, SumHead};

use crate::Error;
use crate::session::Session;
use crate::stream::Stream;

/// How much of a file is summed at a time, in bytes.
const READ_SIZE: usize = 256 << 10;

impl Session {
    /// The sum of a block.
    pub(crate) fn block_sum(&self) -> StrongSum {
        // Who names MD5 under a protocol without such flags sums the seed first, too (wire-files.md 11.3).
        let seed_fix =
            self.flags.contains(CompatFlags::CHKSUM_SEED_FIX) || !self.protocol.has_compat_flags();
        StrongSum::new(algorithm(self.checksum), self.seed, seed_fix)
    }

    /// The sum over a whole file that proves its transfer.
    pub(crate) fn transfer_sum(&self) -> FileSum {
        match self.checksum {
            Checksum::ImpliedMd4 => FileSum::implied_md4(self.seed),
            named => FileSum::new(algorithm(named)),
        }
    }

    /// The sum over a whole file that is compared before anything is transferred.
    pub(crate) fn content_sum(&self) -> FileSum {
        FileSum::new(algorithm(self.file_checksum))
    }
}

/// Reads the sums of a basis, block by block as they come: a peer that announces many must send many.
pub(crate) fn read_basis(
    stream: &mut Stream,
    session: &Session,
    head: &SumHead,
) -> Result<Signature, Error> {
    let blocks = blocks_of(head, session).map_err(|error| Error::Forbidden(error.to_string()))?;
    let mut basis = Signature::new(blocks);
    for _ in 0..head.count {
        stream.read(|cursor| {
            head.decode_block(cursor)
                .map(|block| basis.push(block.weak, block.strong))
        })?;
    }
    Ok(basis)
}

/// The blocks that a peer's head describes, within the bounds of the session.
pub(crate) fn blocks_of(head: &SumHead, session: &Session) -> Result<Blocks, BadBlocks> {
    Blocks::new(
        head.count,
        head.block_length,
        head.strong_length,
        head.remainder,
        session.protocol.max_block_length(),
        session.checksum.digest_length(),
    )
}

/// The sum of a file's content for its entry, which leaves over `stream`; all zero if it cannot be read (wire-files.md 3.11).
pub(crate) fn of_file(
    source: &Root,
    path: &Path,
    session: &Session,
    stream: &mut Stream,
) -> Result<Vec<u8>, Error> {
    let mut sum = session.content_sum();
    let unreadable = || vec![0; session.file_checksum.digest_length()];
    let Ok(mut file) = source.open_file(path) else {
        return Ok(unreadable());
    };
    let mut buffer = buffer_for(file.metadata().map_or(u64::MAX, |meta| meta.len()));
    loop {
        if stream.link().cancel().is_cancelled() {
            return Err(Error::Cancelled);
        }
        stream.show_life()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(sum.finish().to_vec()),
            Ok(count) => sum.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(unreadable()),
        }
    }
}

/// What a file of this size is read into: no more than it takes, for most files are small.
pub(crate) fn buffer_for(size: u64) -> Vec<u8> {
    vec![0; usize::try_from(size).map_or(READ_SIZE, |size| size.clamp(1, READ_SIZE))]
}

fn algorithm(checksum: Checksum) -> Algorithm {
    match checksum {
        Checksum::Xxh128 => Algorithm::Xxh128,
        Checksum::Xxh3 => Algorithm::Xxh3,
        Checksum::Xxh64 => Algorithm::Xxh64,
        Checksum::Md5 => Algorithm::Md5,
        Checksum::Md4 | Checksum::ImpliedMd4 => Algorithm::Md4,
        Checksum::Sha1 => Algorithm::Sha1,
        Checksum::None => Algorithm::None,
    }
}
