//! System calls without a safe wrapper, and with numbers that libc does not know on every architecture yet.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::path::Arg;

// The numbers are the same on every architecture but Alpha and MIPS.
const SYS_FCHMODAT2: libc::c_long = 452;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// Sets the permissions of `name` in `dir`, not following a link (Linux 6.6).
#[expect(unsafe_code, reason = "fchmodat2 has no safe wrapper yet")]
pub(crate) fn fchmodat2(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<(), Errno> {
    name.into_with_c_str(|name| {
        // SAFETY: the name is NUL-terminated and lives through the call, the descriptor is borrowed, and the kernel writes to
        // no memory of ours.
        let answer = unsafe {
            libc::syscall(
                SYS_FCHMODAT2,
                dir.as_raw_fd(),
                name.as_ptr(),
                mode.as_raw_mode(),
                libc::AT_SYMLINK_NOFOLLOW,
            )
        };
        outcome(answer).map(drop)
    })
}

/// How many bytes the names of the extended attributes of `name` in `dir` take, not following a link (Linux 6.13).
#[expect(unsafe_code, reason = "listxattrat has no safe wrapper yet")]
pub(crate) fn listxattrat_length(dir: BorrowedFd<'_>, name: &OsStr) -> Result<usize, Errno> {
    name.into_with_c_str(|name| {
        let (no_list, no_length) = (std::ptr::null_mut::<libc::c_char>(), 0_usize);
        // SAFETY: the name is NUL-terminated and lives through the call, the descriptor is borrowed, and for a list of no
        // length the kernel writes to no memory of ours.
        let answer = unsafe {
            libc::syscall(
                SYS_LISTXATTRAT,
                dir.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                no_list,
                no_length,
            )
        };
        outcome(answer)
    })
}

/// What a call has answered; a negative number stands for the error of this thread.
fn outcome(answer: libc::c_long) -> Result<usize, Errno> {
    usize::try_from(answer).map_err(|_| {
        let error = io::Error::last_os_error();
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })
}
