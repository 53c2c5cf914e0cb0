//! Files to measure with: below one directory that is removed at the end, filled with bytes that do not compress and
//! were never stored before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::{Disk, Env, OpenMode};
use types::limits::{GIB, MIB};
use types::{Error, Result};

/// A directory that is removed when dropped.
pub struct Scratch {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Scratch {
    /// Creates a directory below `parent`, where `space` bytes must be free (otherwise `Unavailable`).
    pub fn create(env: &Env, parent: &Path, space: u64) -> Result<Self> {
        let at = |e: std::io::Error| Error::from(e).context(parent.display());
        let parent = std::path::absolute(parent).map_err(at)?;
        env.disk.create_dir_all(&parent).map_err(at)?;
        let free = env.disk.space(&parent).map_err(at)?.free;
        if free < space {
            return Err(Error::unavailable(format!(
                "{} has {:.1} GiB free, {:.1} are needed: make room, or name another place with --dir",
                parent.display(),
                free as f64 / GIB as f64,
                space as f64 / GIB as f64
            )));
        }
        let path = parent.join(format!("cloudsync-bench-{:016x}", env.random.u64()));
        env.disk.create_dir_all(&path).map_err(at)?;
        Ok(Self { disk: env.disk.clone(), path })
    }

    /// The path of `name` in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = self.disk.remove_dir_all(&self.path) {
            eprintln!("bench: cannot remove {}: {e}; remove it by hand", self.path.display());
        }
    }
}

/// Bytes that look random and are the same for the same label.
pub fn noise(label: &str, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(label.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// Writes a file of noise, durable on return so that its write-back does not disturb what is measured next.
pub fn write_noise(disk: &dyn Disk, path: &Path, label: &str, size: u64) -> Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    let mut source = blake3::Hasher::new().update(label.as_bytes()).finalize_xof();
    let mut block = vec![0; MIB];
    let mut offset = 0;
    while offset < size {
        let len = usize::try_from(size - offset).map_or(MIB, |left| left.min(MIB));
        source.fill(&mut block[..len]);
        file.write_at(&[&block[..len]], offset)?;
        offset += len as u64;
    }
    Ok(file.sync_data()?)
}

/// `Corrupt` when two files differ.
pub fn check_equal(disk: &dyn Disk, one: &Path, other: &Path) -> Result<()> {
    let differ = || Error::corrupt(format!("{} and {} differ", one.display(), other.display()));
    let (one, other) = (disk.open(one, OpenMode::Read)?, disk.open(other, OpenMode::Read)?);
    let size = one.len()?;
    if size != other.len()? {
        return Err(differ());
    }
    let (mut left, mut right) = (vec![0; MIB], vec![0; MIB]);
    let mut offset = 0;
    while offset < size {
        let len = usize::try_from(size - offset).map_or(MIB, |rest| rest.min(MIB));
        one.read_exact_at(&mut left[..len], offset)?;
        other.read_exact_at(&mut right[..len], offset)?;
        if left[..len] != right[..len] {
            return Err(differ());
        }
        offset += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use env::disk::SimDisk;

    use super::*;

    #[test]
    fn noise_is_the_same_for_a_label_and_does_not_compress() {
        assert_eq!(noise("a", 100), noise("a", 200).slice(..100));
        assert_ne!(noise("a", 100), noise("b", 100));
        assert!(!chunk::compress::compress(&noise("a", MIB)).compressed);
    }

    #[test]
    fn files_are_compared_to_the_last_byte() {
        let disk = SimDisk::new(0);
        let path = |name: &str| PathBuf::from("/").join(name);
        let size = MIB as u64 + 7;
        for (name, label, size) in
            [("a", "x", size), ("b", "x", size), ("short", "x", size - 1), ("c", "y", size)]
        {
            write_noise(&disk, &path(name), label, size).unwrap();
        }
        assert_eq!(disk.read(&path("a")).unwrap(), noise("x", MIB + 7));
        assert!(check_equal(&disk, &path("a"), &path("b")).is_ok());
        assert!(check_equal(&disk, &path("a"), &path("short")).is_err());
        assert!(check_equal(&disk, &path("a"), &path("c")).is_err());
        disk.open(&path("b"), OpenMode::ReadWrite).unwrap().write_at(&[b"."], size - 1).unwrap();
        assert!(check_equal(&disk, &path("a"), &path("b")).is_err());
    }

    #[test]
    fn a_full_disk_is_told_before_anything_is_written() {
        let env = Env::simulated(1);
        let error = Scratch::create(&env, Path::new("/x"), u64::MAX).err().unwrap();
        assert!(error.message().contains("--dir"), "{error}");
    }
}
