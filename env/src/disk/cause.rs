//! What an error of a file says about its disk: whether anything is wrong with it, and with what.

use std::io;

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The medium does not give or take these bytes; others may be fine.
    Medium,
    /// The device does not answer, or in a way that nobody expects: nothing is known about any bytes.
    Device,
    /// This process or machine lacks descriptors, memory or time at the moment; the disk is fine.
    Resource,
    /// There is no room; the disk is fine.
    Space,
}

impl Cause {
    /// Sorts an error.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            // What Linux calls a bad sector, a failed protection check, a target that gave up, damage of a file system.
            Some(
                libc::EIO | libc::ENODATA | libc::EILSEQ | libc::EREMOTEIO | libc::EUCLEAN | libc::EBADMSG,
            ) => Cause::Medium,
            Some(
                libc::EMFILE
                | libc::ENFILE
                | libc::ENOMEM
                | libc::ENOBUFS
                | libc::EINTR
                | libc::EAGAIN
                | libc::EBUSY,
            ) => Cause::Resource,
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Cause::Space,
            Some(_) => Cause::Device,
            None => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Cause::Space
                }
                io::ErrorKind::Interrupted
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::ResourceBusy => Cause::Resource,
                _ => Cause::Device,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_to_do() {
        for (code, want) in [
            (libc::EIO, Cause::Medium),
            (libc::ENODATA, Cause::Medium),
            (libc::EUCLEAN, Cause::Medium),
            (libc::EMFILE, Cause::Resource),
            (libc::ENFILE, Cause::Resource),
            (libc::ENOMEM, Cause::Resource),
            (libc::EINTR, Cause::Resource),
            (libc::EAGAIN, Cause::Resource),
            (libc::ENOSPC, Cause::Space),
            (libc::EDQUOT, Cause::Space),
            (libc::ENODEV, Cause::Device),
            (libc::EROFS, Cause::Device),
            (libc::ESTALE, Cause::Device),
        ] {
            assert_eq!(Cause::of(&io::Error::from_raw_os_error(code)), want, "{code}");
        }
        assert_eq!(Cause::of(&io::ErrorKind::StorageFull.into()), Cause::Space);
        assert_eq!(Cause::of(&io::ErrorKind::OutOfMemory.into()), Cause::Resource);
        assert_eq!(Cause::of(&io::Error::other("anything")), Cause::Device);
    }
}
