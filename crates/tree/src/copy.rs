//! Moving the bytes of a whole file, by the kernel where it can.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::SeekFrom;
use rustix::io::{Errno, retry_on_intr};

use crate::error::Error;

/// Why a copy ended early.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source could not be read.
    #[error("read: {0}")]
    Read(#[source] io::Error),
    /// The destination could not be written.
    #[error("write: {0}")]
    Write(#[source] io::Error),
    /// The caller asked for it.
    #[error("cancelled")]
    Cancelled,
}

impl CopyError {
    /// Names the file whose fault it was; `None` if it was cancelled.
    pub fn at(self, source: &Path, destination: &Path) -> Option<Error> {
        match self {
            Self::Read(cause) => Some(Error::new("read", source, cause)),
            Self::Write(cause) => Some(Error::new("write", destination, cause)),
            Self::Cancelled => None,
        }
    }
}

/// Copies everything from the source's present position to its end to the destination's present
/// position, and returns the number of bytes.
///
/// `len_hint` is the length expected; more or less is copied if that is what is there. A small
/// file is one read and one write. A larger one is reflinked if it can be, then copied inside the
/// kernel, then through a buffer; `cancelled` and `progress`, which gets the bytes copied so far,
/// are called between steps.
pub fn copy_contents(
    source: &File,
    destination: &File,
    len_hint: u64,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, CopyError> {
    let mut copy = Copy {
        source,
        destination,
        copied: 0,
        cancelled,
        progress,
    };
    match usize::try_from(len_hint) {
        // A byte more shows in the same call whether the file has grown.
        Ok(len) if len <= SMALL => {
            let read = copy.by_buffer_once(&mut Vec::with_capacity(len + 1))?;
            if read != len {
                copy.by_buffer(BUFFER)?;
            }
        }
        _ => {
            if !copy.by_reflink()? {
                copy.by_kernel(len_hint)?;
                copy.by_buffer(BUFFER)?;
            }
        }
    }
    Ok(copy.copied)
}

/// The same from beginning to end of both, but holes of the source become holes of the destination, which is empty.
/// Returns the number of bytes that were copied.
pub fn copy_keeping_holes(
    source: &File,
    destination: &File,
    len_hint: u64,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, CopyError> {
    if len_hint <= SMALL as u64 {
        return copy_contents(source, destination, len_hint, cancelled, progress);
    }
    let mut copy = Copy {
        source,
        destination,
        copied: 0,
        cancelled,
        progress,
    };
    if !copy.by_reflink()? {
        copy.extents()?;
    }
    Ok(copy.copied)
}

/// Files up to here are read whole.
const SMALL: usize = 64 * 1024;
const BUFFER: usize = 256 * 1024;
/// A step inside the kernel: some milliseconds, so that a cancel is noticed.
const STEP: usize = 32 * 1024 * 1024;

struct Copy<'a> {
    source: &'a File,
    destination: &'a File,
    copied: u64,
    cancelled: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(u64),
}

impl Copy<'_> {
    /// Shares the blocks of the whole file. `false` if the file systems do not.
    fn by_reflink(&mut self) -> Result<bool, CopyError> {
        let untouched = |file: &File| rustix::fs::tell(file) == Ok(0);
        if !untouched(self.source) || !untouched(self.destination) {
            return Ok(false);
        }
        if rustix::fs::ioctl_ficlone(self.destination, self.source).is_err() {
            return Ok(false);
        }
        // The clone may be longer or shorter than expected, and left the position alone.
        let end = rustix::fs::seek(self.destination, SeekFrom::End(0));
        let len = end.map_err(|e| CopyError::Write(e.into()))?;
        self.advance(len)?;
        Ok(true)
    }

    /// Copies what the file system says is data, and gives the destination the source's length.
    fn extents(&mut self) -> Result<(), CopyError> {
        let read = |cause: Errno| CopyError::Read(cause.into());
        let write = |cause: Errno| CopyError::Write(cause.into());
        let mut at = 0;
        loop {
            let start = match rustix::fs::seek(self.source, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                // A file system that knows no holes: all of it is data.
                Err(_) if at == 0 => return self.by_buffer(BUFFER),
                Err(cause) => return Err(read(cause)),
            };
            let end = rustix::fs::seek(self.source, SeekFrom::Hole(start)).map_err(read)?;
            rustix::fs::seek(self.source, SeekFrom::Start(start)).map_err(read)?;
            rustix::fs::seek(self.destination, SeekFrom::Start(start)).map_err(write)?;
            if !self.extent(end - start)? {
                // It has become shorter.
                break;
            }
            at = end;
        }
        let length = rustix::fs::seek(self.source, SeekFrom::End(0)).map_err(read)?;
        rustix::fs::ftruncate(self.destination, length).map_err(write)
    }

    /// Copies so many bytes from position to position. `false` if the source ends before.
    fn extent(&mut self, mut length: u64) -> Result<bool, CopyError> {
        let mut buffer = Vec::new();
        while length > 0 {
            let step = usize::try_from(length).unwrap_or(STEP).min(STEP);
            let copied = retry_on_intr(|| {
                rustix::fs::copy_file_range(self.source, None, self.destination, None, step)
            });
            let copied = match copied {
                Ok(copied @ 1..) => {
                    self.advance(copied as u64)?;
                    copied
                }
                // The file systems do not, or this is the end: reading tells.
                Ok(0) | Err(_) => {
                    buffer.reserve_exact(step.min(BUFFER));
                    self.by_buffer_once(&mut buffer)?
                }
            };
            if copied == 0 {
                return Ok(false);
            }
            // A buffer may have taken some bytes of the hole that follows.
            length = length.saturating_sub(copied as u64);
        }
        Ok(true)
    }

    /// Lets the kernel copy, as far as it will: every refusal leaves the rest to the buffer, which
    /// also finds out whose fault a real error is, and whether this was really the end.
    fn by_kernel(&mut self, len_hint: u64) -> Result<(), CopyError> {
        while self.copied < len_hint {
            let step = retry_on_intr(|| {
                rustix::fs::copy_file_range(self.source, None, self.destination, None, STEP)
            });
            match step {
                Ok(0) | Err(_) => return Ok(()),
                Ok(n) => self.advance(n as u64)?,
            }
        }
        Ok(())
    }

    fn by_buffer(&mut self, size: usize) -> Result<(), CopyError> {
        let mut buffer = Vec::with_capacity(size);
        while self.by_buffer_once(&mut buffer)? > 0 {}
        Ok(())
    }

    fn by_buffer_once(&mut self, buffer: &mut Vec<u8>) -> Result<usize, CopyError> {
        buffer.clear();
        let read = loop {
            match rustix::io::read(self.source, spare_capacity(buffer)) {
                Err(Errno::INTR) => {}
                read => break read.map_err(|cause| CopyError::Read(cause.into()))?,
            }
        };
        if read > 0 {
            let mut destination = self.destination;
            destination.write_all(buffer).map_err(CopyError::Write)?;
            self.advance(read as u64)?;
        }
        Ok(read)
    }

    fn advance(&mut self, n: u64) -> Result<(), CopyError> {
        self.copied += n;
        (self.progress)(self.copied);
        if (self.cancelled)() {
            return Err(CopyError::Cancelled);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    fn content(mut file: &File) -> Vec<u8> {
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn copies_all_there_is_whatever_was_expected() {
        for len in [0, 1, 4095, 65_536, 65_537, 300_000, 700_000] {
            let data: Vec<u8> = (0..len).map(|i: u32| (i % 251) as u8).collect();
            for hint in [0, 1, u64::from(len), u64::from(len) + 1, 1 << 40] {
                let (source, destination) = (file(&data), file(b""));
                let mut last = 0;
                let copied = copy_contents(&source, &destination, hint, &|| false, &mut |n| {
                    assert!(n > last);
                    last = n;
                });
                assert_eq!(copied.unwrap(), u64::from(len));
                assert_eq!(last, u64::from(len));
                assert!(
                    content(&destination) == data,
                    "{len} bytes, {hint} expected"
                );
            }
        }
    }

    #[test]
    fn holes_stay_holes() {
        use std::os::unix::fs::{FileExt, MetadataExt};
        for (data_at, length) in [(0, 1 << 20), (3 << 20, 5 << 20), (5 << 20, (5 << 20) + 1)] {
            let source = file(b"");
            source.set_len(length).unwrap();
            source.write_all_at(b"x", data_at).unwrap();
            let destination = file(b"");
            let copied =
                copy_keeping_holes(&source, &destination, length, &|| false, &mut |_| {}).unwrap();
            assert!(copied < 1 << 20, "{copied} bytes copied");
            assert!(content(&destination) == content(&source));
            let takes = |file: &File| file.metadata().unwrap().blocks();
            assert!(takes(&destination) <= takes(&source) + 8);
        }
        let data = [7; 200_000];
        let (source, destination) = (file(&data), file(b""));
        copy_keeping_holes(&source, &destination, 200_000, &|| false, &mut |_| {}).unwrap();
        assert!(content(&destination) == data);
    }

    #[test]
    fn stops_when_told() {
        let (source, destination) = (file(&[7; 300_000]), file(b""));
        let result = copy_contents(&source, &destination, 300_000, &|| true, &mut |_| {});
        assert!(matches!(result, Err(CopyError::Cancelled)));
    }

    #[test]
    fn tells_whose_fault_it_was() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = copy_contents(&file(&[1; 100]), &full, 100, &|| false, &mut |_| {});
        let error = error
            .unwrap_err()
            .at(Path::new("a"), Path::new("b"))
            .unwrap();
        assert!(error.is_no_space());
        assert_eq!(error.path(), Path::new("b"));
    }

    #[test]
    fn appends_at_the_present_positions() {
        let (mut source, mut destination) = (file(&[5; 200_000]), file(b"head"));
        source.seek(io::SeekFrom::Start(100_000)).unwrap();
        destination.seek(io::SeekFrom::End(0)).unwrap();
        copy_contents(&source, &destination, 100_000, &|| false, &mut |_| {}).unwrap();
        assert_eq!(content(&destination).len(), 100_004);
    }
}
