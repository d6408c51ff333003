//! Checksums of a session: which algorithm, which seed, over which bytes.

use std::io::Read;
use std::path::Path;

use tree::Root;
use wire::SumHead;

use crate::Error;
use crate::link::Cancel;
use crate::session::Session;
use crate::stream::Stream;

pub(crate) struct FileSum(xxhash_rust::xxh3::Xxh3);
impl FileSum {
    pub(crate) fn new(_session: &Session) -> Self { Self(xxhash_rust::xxh3::Xxh3::new()) }
    pub(crate) fn update(&mut self, data: &[u8]) { self.0.update(data) }
    pub(crate) fn finish(self) -> Vec<u8> { let d = self.0.digest128(); d.to_le_bytes().to_vec() }
}

pub(crate) struct Basis;

pub(crate) fn read_basis(stream: &mut Stream, head: &SumHead) -> Result<Basis, Error> {
    for _ in 0..head.count { stream.read(|cursor| head.decode_block(cursor).map(drop))?; }
    Ok(Basis)
}

pub(crate) fn of_file(source: &Root, path: &Path, session: &Session, _cancel: &Cancel) -> Result<Vec<u8>, Error> {
    let mut sum = FileSum::new(session);
    if let Ok(mut file) = source.open_file(path) {
        let mut buf = vec![0; 256 << 10];
        loop { match file.read(&mut buf) { Ok(0) => return Ok(sum.finish()), Ok(n) => sum.update(&buf[..n]), Err(_) => break } }
    }
    Ok(vec![0; session.checksum.digest_length()])
}
