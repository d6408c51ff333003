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
    ahead: Ahead,
    position: u64,
    /// Where the file's own position is, if that is elsewhere.
    sought: u64,
    /// Zeros just before `position` that have not been written. Content comes in pieces of any size, but only a run that is
    /// punched as a whole gives back all of its blocks.
    hole: u64,
}

/// What the file holds where nothing has been written yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// It ends.
    Nothing,
    /// Space that was allocated in advance. rsync gives back what lies between data, and keeps what lies after it.
    Reserved,
    /// Old data.
    OldData,
}

impl<'f> Output<'f> {
    pub(crate) fn new(file: &'f mut File, sparse: bool, ahead: Ahead) -> Self {
        Self {
            file,
            sparse,
            ahead,
            position: 0,
            sought: 0,
            hole: 0,
        }
    }

    /// Leaves what is there as it is.
    pub(crate) fn skip(&mut self, length: u64) -> io::Result<()> {
        self.dig()?;
        self.position += length;
        Ok(())
    }

    /// Leaves data as it is that is there already, but for zeros that may become holes.
    pub(crate) fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        self.each_run(data, |output, run, is_zero| match is_zero {
            true => output.leave_out(run),
            false => output.skip(run.len() as u64),
        })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.each_run(data, |output, run, is_zero| match is_zero {
            true => output.leave_out(run),
            false => output.write_data(run),
        })
    }

    /// Gives the file its final length. Returns it.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if self.ahead == Ahead::OldData {
            self.dig()?;
        }
        if self.hole > 0 || self.ahead != Ahead::Nothing {
            match self.file.set_len(self.position) {
                // A device has its length.
                Err(_) if self.file.metadata().is_ok_and(|it| !it.is_file()) => {}
                cut => cut?,
            }
        }
        Ok(self.position)
    }

    /// Splits data into runs that are worth a hole and runs that are not. They end at the same places of the file whatever
    /// pieces the data comes in.
    fn each_run(
        &mut self,
        mut data: &[u8],
        mut each: impl FnMut(&mut Self, &[u8], bool) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.sparse {
            return each(self, data, false);
        }
        while !data.is_empty() {
            let to_boundary = HOLE - (self.position % HOLE as u64) as usize;
            let (first, rest) = data.split_at(to_boundary.min(data.len()));
            let is_zero = is_zero(first);
            let more = rest
                .chunks(HOLE)
                .take_while(|chunk| self::is_zero(chunk) == is_zero)
                .count()
                * HOLE;
            let (run, rest) = data.split_at((first.len() + more).min(data.len()));
            each(self, run, is_zero)?;
            data = rest;
        }
        Ok(())
    }

    fn leave_out(&mut self, zeros: &[u8]) -> io::Result<()> {
        self.hole += zeros.len() as u64;
        self.position += zeros.len() as u64;
        Ok(())
    }

    fn write_data(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.dig()?;
        self.write_at_position(data)
    }

    fn write_at_position(&mut self, data: &[u8]) -> io::Result<()> {
        if self.sought != self.position {
            self.file.seek(SeekFrom::Start(self.position))?;
        }
        self.file.write_all(data)?;
        self.position += data.len() as u64;
        self.sought = self.position;
        Ok(())
    }

    /// Makes the zeros that were left out true: nothing of what the file held there may show.
    fn dig(&mut self) -> io::Result<()> {
        let mut left = std::mem::take(&mut self.hole);
        if left == 0 || self.ahead == Ahead::Nothing {
            return Ok(());
        }
        let start = self.position - left;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&*self.file, flags, start, left).is_ok() {
            return Ok(());
        }
        self.position = start;
        while left > 0 {
            let count = left.min(ZEROS.len() as u64);
            self.write_at_position(&ZEROS[..count as usize])?;
            left -= count;
        }
        Ok(())
    }
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|&byte| byte == 0)
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

/// The shortest run of zeros that becomes a hole, in bytes.
const HOLE: usize = 1024;

/// What is written where holes cannot be punched.
static ZEROS: [u8; 4096] = [0; 4096];

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
        for ahead in [Ahead::Nothing, Ahead::Reserved, Ahead::OldData] {
            let mut file = tempfile::tempfile().unwrap();
            match ahead {
                Ahead::Nothing => {}
                Ahead::Reserved => preallocate(&file, 20_000).unwrap(),
                Ahead::OldData => file.write_all(&[7; 20_000]).unwrap(),
            }
            file.rewind().unwrap();
            let mut output = Output::new(&mut file, true, ahead);
            for piece in data.chunks(777) {
                output.write(piece).unwrap();
            }
            assert_eq!(output.finish().unwrap(), data.len() as u64);
            let mut read = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut read).unwrap();
            assert!(read == data, "{ahead:?}");
        }
    }

    #[test]
    fn zeros_that_are_kept_become_holes() {
        use std::os::unix::fs::MetadataExt;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 64 << 10]).unwrap();
        file.sync_all().unwrap();
        let before = file.metadata().unwrap().blocks();
        let mut output = Output::new(&mut file, true, Ahead::OldData);
        for piece in [0; 64 << 10].chunks(700) {
            output.keep(piece).unwrap();
        }
        output.finish().unwrap();
        // Where the file system cannot punch holes, nothing is lost.
        let after = file.metadata().unwrap();
        assert_eq!(after.len(), 64 << 10);
        assert!(
            after.blocks() < before
                || rustix::fs::fallocate(
                    &file,
                    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    0,
                    4096
                )
                .is_err()
        );
    }
}
