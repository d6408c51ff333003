//! Writing a file's content: holes, allocation in advance, in place (behaviour.md 7.6).

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

/// A file that content is written to from some position on.
#[derive(Debug)]
pub(crate) struct Output<'f> {
    file: &'f mut File,
    sparse: bool,
    /// What lies ahead may hold old data: holes must be punched, not skipped.
    has_old_data: bool,
    position: u64,
    /// Where the file's own position is, if that is elsewhere.
    sought: u64,
}

impl<'f> Output<'f> {
    pub(crate) fn new(file: &'f mut File, sparse: bool, has_old_data: bool) -> Self {
        Self {
            file,
            sparse,
            has_old_data,
            position: 0,
            sought: 0,
        }
    }

    /// How much of the content is there.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Leaves what is there as it is.
    pub(crate) fn skip(&mut self, length: u64) {
        self.position += length;
    }

    pub(crate) fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        if !self.sparse {
            return self.write_data(data);
        }
        while !data.is_empty() {
            let zeros = data
                .chunks(HOLE)
                .take_while(|chunk| chunk.iter().all(|&byte| byte == 0))
                .count()
                * HOLE;
            let (hole, rest) = data.split_at(zeros.min(data.len()));
            self.write_hole(hole.len() as u64)?;
            let solid = rest
                .chunks(HOLE)
                .take_while(|chunk| chunk.iter().any(|&byte| byte != 0))
                .count()
                * HOLE;
            let (solid, rest) = rest.split_at(solid.min(rest.len()));
            self.write_data(solid)?;
            data = rest;
        }
        Ok(())
    }

    /// Gives the file its final length. Returns it.
    pub(crate) fn finish(self) -> io::Result<u64> {
        if self.sparse || self.has_old_data {
            self.file.set_len(self.position)?;
        }
        Ok(self.position)
    }

    fn write_data(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.sought != self.position {
            self.file.seek(SeekFrom::Start(self.position))?;
        }
        self.file.write_all(data)?;
        self.position += data.len() as u64;
        self.sought = self.position;
        Ok(())
    }

    fn write_hole(&mut self, length: u64) -> io::Result<()> {
        if length > 0 && self.has_old_data {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(&*self.file, flags, self.position, length).is_err() {
                let zeros = vec![0; usize::try_from(length).unwrap_or(HOLE).min(HOLE)];
                let mut left = length;
                while left > 0 {
                    let count = usize::try_from(left).unwrap_or(HOLE).min(zeros.len());
                    self.write_data(&zeros[..count])?;
                    left -= count as u64;
                }
                return Ok(());
            }
        }
        self.position += length;
        Ok(())
    }
}

/// Reserves space for a file that is about to be written.
pub(crate) fn preallocate(file: &File, size: u64) -> io::Result<()> {
    match size {
        0 => Ok(()),
        size => Ok(rustix::fs::fallocate(
            file,
            FallocateFlags::KEEP_SIZE,
            0,
            size,
        )?),
    }
}

/// Keeps an average rate (`--bwlimit`).
#[derive(Debug)]
pub(crate) struct Pace {
    rate: u64,
    started: Instant,
    done: u64,
}

impl Pace {
    /// So many bytes a second.
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            started: Instant::now(),
            done: 0,
        }
    }

    /// The most to write at a time, in bytes: an eighth of a second's worth, as rsync does.
    pub(crate) fn chunk(&self) -> usize {
        usize::try_from(self.rate / 8)
            .unwrap_or(usize::MAX)
            .max(512)
    }

    /// Waits until so many more bytes fit the rate.
    pub(crate) fn wait(&mut self, bytes: u64) {
        self.done += bytes;
        let due = Duration::from_secs_f64(self.done as f64 / self.rate as f64);
        if let Some(early) = due.checked_sub(self.started.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

/// The shortest run of zeros that becomes a hole.
const HOLE: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn content_with_holes_is_the_same_content() {
        let mut data = vec![0; 10_000];
        data[5_000] = 1;
        data.extend_from_slice(b"end");
        data.extend_from_slice(&[0; 3000]);
        for has_old_data in [false, true] {
            let mut file = tempfile::tempfile().unwrap();
            if has_old_data {
                file.write_all(&[7; 20_000]).unwrap();
                file.rewind().unwrap();
            }
            let mut output = Output::new(&mut file, true, has_old_data);
            for piece in data.chunks(777) {
                output.write(piece).unwrap();
            }
            assert_eq!(output.finish().unwrap(), data.len() as u64);
            let mut read = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut read).unwrap();
            assert!(read == data, "old data: {has_old_data}");
        }
    }
}
