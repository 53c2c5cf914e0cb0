//! The inner loop: multiplies rows of a matrix over GF(2^8), polynomial 0x11D, with byte slices. Hot.
//!
//! Owns: the choice of instructions at run time. All kernels give equal bytes (property test in `tests.rs`).
//! Knows nothing of: what the rows mean.

use reed_solomon_erasure::galois_8;
use types::limits::KIB;

/// Instructions that compute the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Table look-ups; runs on every machine.
    Scalar,
    /// 32 bytes at a time with nibble shuffles.
    Avx2,
    /// 64 bytes at a time with GFNI's affine transformation.
    Gfni,
}

impl Kernel {
    /// The fastest kernel of this CPU.
    pub fn best() -> Kernel {
        *Self::available().last().expect("scalar is always there")
    }

    /// All kernels of this CPU, slowest first.
    pub fn available() -> Vec<Kernel> {
        [Kernel::Scalar, Kernel::Avx2, Kernel::Gfni]
            .into_iter()
            .filter(|kernel| kernel.is_supported())
            .collect()
    }

    /// True when this CPU can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Kernel::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Kernel::Gfni => {
                is_x86_feature_detected!("gfni")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// Bytes of every slice processed at a time: inputs stay in the cache while all rows pass over them.
const STRIP_SIZE: usize = 32 * KIB;
/// Rows computed in one pass; their sums stay in registers.
const ROW_GROUP: usize = 4;

/// A matrix prepared for a kernel: `rows[r][c]` is the factor of input `c` in output `r`.
#[derive(Debug)]
pub(super) struct Matrix {
    kernel: Kernel,
    columns: usize,
    rows: Vec<Vec<u8>>,
    /// Per factor, row by row: the 8x8 bit matrix of the multiplication (GFNI).
    affine: Vec<u64>,
    /// Per factor, row by row: products of the 16 low and the 16 high nibbles (AVX2).
    nibbles: Vec<[u8; 32]>,
}

impl Matrix {
    pub(super) fn new(kernel: Kernel, rows: Vec<Vec<u8>>) -> Self {
        assert!(kernel.is_supported(), "KernelCodec::new() checked this");
        let columns = rows.first().map_or(0, Vec::len);
        assert!(rows.iter().all(|row| row.len() == columns), "a matrix is rectangular");
        let factors = || rows.iter().flatten().copied();
        let affine = if kernel == Kernel::Gfni { factors().map(affine).collect() } else { Vec::new() };
        let nibbles = if kernel == Kernel::Avx2 { factors().map(nibbles).collect() } else { Vec::new() };
        Self { kernel, columns, rows, affine, nibbles }
    }

    pub(super) fn row(&self, index: usize) -> &[u8] {
        &self.rows[index]
    }

    /// `outputs[r] = sum over c of rows[r][c] * inputs[c]`. All slices have one size.
    pub(super) fn multiply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert_eq!(
            (inputs.len(), outputs.len()),
            (self.columns, self.rows.len()),
            "one slice for each row and column"
        );
        let size = outputs.first().map_or(0, |output| output.len());
        assert!(inputs.iter().all(|input| input.len() == size), "equal sizes: the unsafe loops rely on it");
        assert!(
            outputs.iter().all(|output| output.len() == size),
            "equal sizes: the unsafe loops rely on it"
        );
        for start in (0..size).step_by(STRIP_SIZE) {
            let end = size.min(start + STRIP_SIZE);
            match self.kernel {
                Kernel::Scalar => self.strip_scalar(inputs, outputs, start, end),
                #[cfg(target_arch = "x86_64")]
                kernel => self.strip_simd(kernel, inputs, outputs, start, end),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("is_supported() refuses the other kernels here"),
            }
        }
    }

    fn strip_scalar(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]], start: usize, end: usize) {
        for (row, output) in self.rows.iter().zip(outputs) {
            let output = &mut output[start..end];
            output.fill(0);
            for (factor, input) in row.iter().zip(inputs) {
                galois_8::mul_slice_xor(*factor, &input[start..end], output);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn strip_simd(
        &self,
        kernel: Kernel,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        start: usize,
        end: usize,
    ) {
        for (group, outputs) in outputs.chunks_mut(ROW_GROUP).enumerate() {
            let first = group * ROW_GROUP * self.columns;
            let strip = x86::Strip { inputs, start, end };
            // SAFETY: `new` checked that the CPU has the kernel's instructions; `multiply` checked that every slice is
            // at least `end` long; `new` prepared `columns` factors for each row of the group.
            unsafe {
                match (kernel, outputs) {
                    (Kernel::Gfni, [a]) => strip.gfni([a], &self.affine[first..]),
                    (Kernel::Gfni, [a, b]) => strip.gfni([a, b], &self.affine[first..]),
                    (Kernel::Gfni, [a, b, c]) => strip.gfni([a, b, c], &self.affine[first..]),
                    (Kernel::Gfni, [a, b, c, d]) => strip.gfni([a, b, c, d], &self.affine[first..]),
                    (_, [a]) => strip.avx2([a], &self.nibbles[first..]),
                    (_, [a, b]) => strip.avx2([a, b], &self.nibbles[first..]),
                    (_, [a, b, c]) => strip.avx2([a, b, c], &self.nibbles[first..]),
                    (_, [a, b, c, d]) => strip.avx2([a, b, c, d], &self.nibbles[first..]),
                    _ => unreachable!("chunks_mut gives one to ROW_GROUP rows"),
                }
            }
        }
    }
}

/// Multiplication by `factor` as GFNI wants it: byte `7 - i` holds the input bits that make bit `i` of the product.
fn affine(factor: u8) -> u64 {
    let mut rows = [0u8; 8];
    for column in 0..8 {
        let product = galois_8::mul(factor, 1 << column);
        for (i, row) in rows.iter_mut().rev().enumerate() {
            *row |= (product >> i & 1) << column;
        }
    }
    u64::from_le_bytes(rows)
}

fn nibbles(factor: u8) -> [u8; 32] {
    let mut products = [0; 32];
    for nibble in 0..16u8 {
        products[usize::from(nibble)] = galois_8::mul(factor, nibble);
        products[16 + usize::from(nibble)] = galois_8::mul(factor, nibble << 4);
    }
    products
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use reed_solomon_erasure::galois_8;

    /// The columns `start..end` of all inputs.
    pub(super) struct Strip<'a> {
        pub(super) inputs: &'a [&'a [u8]],
        pub(super) start: usize,
        pub(super) end: usize,
    }

    impl Strip<'_> {
        /// # Safety
        /// GFNI, AVX-512F and AVX-512BW; all slices reach to `end`; `R * inputs.len()` factors.
        #[target_feature(enable = "gfni,avx512f,avx512bw")]
        pub(super) unsafe fn gfni<const R: usize>(&self, mut outputs: [&mut &mut [u8]; R], factors: &[u64]) {
            let columns = self.inputs.len();
            assert!(factors.len() >= R * columns, "one factor for each row and input");
            let mut at = self.start;
            while at < self.end {
                let rest = self.end - at;
                let mask = if rest >= 64 { u64::MAX } else { (1 << rest) - 1 };
                let mut sums = [_mm512_setzero_si512(); R];
                for (column, input) in self.inputs.iter().enumerate() {
                    // SAFETY: the mask keeps the load inside `at..end`, which every input covers.
                    let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, input.as_ptr().add(at).cast()) };
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let factor = _mm512_set1_epi64(factors[row * columns + column].cast_signed());
                        *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(bytes, factor));
                    }
                }
                for (output, sum) in outputs.iter_mut().zip(sums) {
                    // SAFETY: as above; the outputs are borrowed mutably, so nobody else sees the write.
                    unsafe { _mm512_mask_storeu_epi8(output.as_mut_ptr().add(at).cast(), mask, sum) };
                }
                at += 64;
            }
        }

        /// # Safety
        /// AVX2; all slices reach to `end`; `R * inputs.len()` factors.
        #[target_feature(enable = "avx2")]
        pub(super) unsafe fn avx2<const R: usize>(
            &self,
            mut outputs: [&mut &mut [u8]; R],
            factors: &[[u8; 32]],
        ) {
            let columns = self.inputs.len();
            assert!(factors.len() >= R * columns, "one factor for each row and input");
            let low_bits = _mm256_set1_epi8(15);
            let mut at = self.start;
            while at + 32 <= self.end {
                let mut sums = [_mm256_setzero_si256(); R];
                for (column, input) in self.inputs.iter().enumerate() {
                    // SAFETY: `at + 32 <= end`, which every input covers.
                    let bytes = unsafe { _mm256_loadu_si256(input.as_ptr().add(at).cast()) };
                    let low = _mm256_and_si256(bytes, low_bits);
                    let high = _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), low_bits);
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let table = &factors[row * columns + column];
                        // SAFETY: a table has 32 bytes.
                        let (low_table, high_table) = unsafe {
                            let table = table.as_ptr().cast::<__m128i>();
                            (_mm_loadu_si128(table), _mm_loadu_si128(table.add(1)))
                        };
                        let low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(low_table), low);
                        let high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(high_table), high);
                        *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(low, high));
                    }
                }
                for (output, sum) in outputs.iter_mut().zip(sums) {
                    // SAFETY: as above; the outputs are borrowed mutably, so nobody else sees the write.
                    unsafe { _mm256_storeu_si256(output.as_mut_ptr().add(at).cast(), sum) };
                }
                at += 32;
            }
            self.rest(at, outputs, factors);
        }

        /// The last bytes, too few for a vector.
        fn rest<const R: usize>(&self, at: usize, outputs: [&mut &mut [u8]; R], factors: &[[u8; 32]]) {
            for (row, output) in outputs.into_iter().enumerate() {
                output[at..self.end].fill(0);
                for (column, input) in self.inputs.iter().enumerate() {
                    let factor = factors[row * self.inputs.len() + column][1];
                    galois_8::mul_slice_xor(factor, &input[at..self.end], &mut output[at..self.end]);
                }
            }
        }
    }
}
