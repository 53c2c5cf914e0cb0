//! Memory that a disk takes without the system's page cache in between.

use types::limits::DISK_BLOCK_SIZE;

/// One unit of a direct write; the type is there for its alignment.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Block([u8; DISK_BLOCK_SIZE]);

const _: () = assert!(align_of::<Block>() == DISK_BLOCK_SIZE && size_of::<Block>() == DISK_BLOCK_SIZE);

/// Bytes that begin at a multiple of [`DISK_BLOCK_SIZE`] in memory. Made to be filled, written and cleared again and
/// again: its memory stays.
#[derive(Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
    len: usize,
}

impl AlignedBuffer {
    /// An empty buffer without memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the bytes, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    /// Appends zeros up to the next multiple of [`DISK_BLOCK_SIZE`].
    pub fn pad(&mut self) {
        self.grow(self.len.next_multiple_of(DISK_BLOCK_SIZE) - self.len).fill(0);
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: a block is plain bytes without gaps, and `len` never exceeds the bytes of all blocks.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.len) }
    }

    /// The next `count` bytes, whatever is in them.
    fn grow(&mut self, count: usize) -> &mut [u8] {
        let start = self.len;
        self.len += count;
        let block_count = self.len.div_ceil(DISK_BLOCK_SIZE);
        if self.blocks.len() < block_count {
            self.blocks.resize(block_count, Block([0; DISK_BLOCK_SIZE]));
        }
        // SAFETY: as in `as_bytes`; the blocks are borrowed mutably with `self`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.len) };
        &mut bytes[start..]
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_in_order_aligned_and_padded_with_zeros() {
        let mut buffer = AlignedBuffer::new();
        for round in 1..4 {
            buffer.clear();
            assert_eq!(buffer.as_bytes(), b"");
            buffer.pad();
            assert_eq!(buffer.as_bytes(), b"", "nothing is padded already");
            let parts = [vec![round; 3], vec![0xff; 5000 * usize::from(round)], vec![7; 1]];
            parts.iter().for_each(|part| buffer.push(part));
            let want = parts.concat();
            assert_eq!(buffer.as_bytes(), want);
            buffer.pad();
            let bytes = buffer.as_bytes();
            assert_eq!(bytes.as_ptr().addr() % DISK_BLOCK_SIZE, 0);
            assert_eq!(bytes.len(), want.len().next_multiple_of(DISK_BLOCK_SIZE));
            assert!(bytes.starts_with(&want) && bytes[want.len()..].iter().all(|byte| *byte == 0));
        }
    }
}
