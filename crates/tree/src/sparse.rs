//! Files with holes, and space reserved ahead (behaviour.md 7.6).

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};

/// What a run of zeros becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// Nothing is written: for a file that has nothing there yet.
    Skip,
    /// What is there is given back to the file system: for a file written in place, or whose
    /// space was reserved.
    Punch,
}

/// Writes a file front to back and leaves holes for its zeros: those at the edges of a write, and
/// within it runs of at least 1024 bytes (wire-files.md 14.3).
#[derive(Debug)]
pub struct SparseWriter<'a> {
    file: &'a File,
    at: u64,
    holes: Holes,
}

impl<'a> SparseWriter<'a> {
    /// A writer that begins at byte `at` of the file.
    pub fn new(file: &'a File, at: u64, holes: Holes) -> Self {
        Self { file, at, holes }
    }

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Writes `data`, all of it.
    pub fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let zeros = leading_zeros(rest);
            let at_edge = rest.len() == data.len() || zeros == rest.len();
            if zeros > 0 && (at_edge || zeros >= SHORTEST_HOLE) {
                self.hole(&rest[..zeros])?;
                rest = &rest[zeros..];
            } else {
                let len = before_next_hole(rest);
                self.file.write_all_at(&rest[..len], self.at)?;
                self.at += len as u64;
                rest = &rest[len..];
            }
        }
        Ok(())
    }

    /// Sets the length of the file to what was written, and returns it. Without this, a hole at
    /// the end is missing.
    pub fn finish(self) -> std::io::Result<u64> {
        retry_on_intr(|| rustix::fs::ftruncate(self.file, self.at))?;
        Ok(self.at)
    }

    fn hole(&mut self, zeros: &[u8]) -> std::io::Result<()> {
        let len = zeros.len() as u64;
        if self.holes == Holes::Punch {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match retry_on_intr(|| rustix::fs::fallocate(self.file, flags, self.at, len)) {
                Ok(()) => {}
                // Then the zeros have to be written after all, over what is there.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.file.write_all_at(zeros, self.at)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.at += len;
        Ok(())
    }
}

/// Reserves `len` bytes for a new file (`--preallocate`), which then has that length: cut it to
/// what was written in the end. (Space reserved beyond the length could not be punched.)
pub fn preallocate(file: &File, len: u64) -> std::io::Result<()> {
    if len > 0 {
        retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len))?;
    }
    Ok(())
}

const SHORTEST_HOLE: usize = 1024;

/// The length of the data up to the zeros that are worth a hole: a long run, or those at the end.
fn before_next_hole(data: &[u8]) -> usize {
    let mut end = 0;
    while let Some(found) = data[end..].iter().position(|byte| *byte == 0) {
        let start = end + found;
        let zeros = leading_zeros(&data[start..]);
        // The first byte of `data` may be a zero in a run too short for a hole.
        if start > 0 && (zeros >= SHORTEST_HOLE || start + zeros == data.len()) {
            return start;
        }
        end = start + zeros;
    }
    data.len()
}

fn leading_zeros(data: &[u8]) -> usize {
    data.iter()
        .position(|byte| *byte != 0)
        .unwrap_or(data.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn blocks(file: &File) -> u64 {
        file.metadata().unwrap().blocks()
    }

    #[test]
    fn zeros_take_no_space() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = SparseWriter::new(&file, 0, Holes::Skip);
        writer.write(&[1; 4096]).unwrap();
        for _ in 0..256 {
            writer.write(&[0; 4096]).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), 257 * 4096);
        assert_eq!(file.metadata().unwrap().len(), 257 * 4096);
        assert!(blocks(&file) <= 16, "{} blocks", blocks(&file));
    }

    #[test]
    fn holes_are_punched_into_reserved_space() {
        let file = tempfile::tempfile().unwrap();
        if preallocate(&file, 1 << 20).is_err() {
            println!("skipped: no fallocate here");
            return;
        }
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
        let reserved = blocks(&file);
        assert!(reserved >= 2048);
        let mut writer = SparseWriter::new(&file, 0, Holes::Punch);
        writer.write(&vec![0; 1 << 20]).unwrap();
        writer.finish().unwrap();
        assert!(blocks(&file) < reserved);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            runs in prop::collection::vec((any::<bool>(), 0usize..3000), 0..8),
            split in 1usize..5000,
            holes in prop::sample::select(vec![Holes::Skip, Holes::Punch]),
        ) {
            let mut data = Vec::new();
            for (zero, len) in runs {
                data.resize(data.len() + len, if zero { 0 } else { 7 });
            }
            let file = tempfile::tempfile().unwrap();
            if holes == Holes::Punch {
                // Something else is there before.
                file.write_all_at(&vec![9; data.len() + 100], 0).unwrap();
            }
            let mut writer = SparseWriter::new(&file, 0, holes);
            for chunk in data.chunks(split) {
                writer.write(chunk).unwrap();
            }
            prop_assert_eq!(writer.finish().unwrap(), data.len() as u64);
            let mut read = vec![0; data.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            prop_assert!(read == data);
            prop_assert_eq!(file.metadata().unwrap().len(), data.len() as u64);
        }
    }
}
