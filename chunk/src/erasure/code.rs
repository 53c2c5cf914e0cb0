//! The code itself: its matrix, its name, and the algebra that rebuilds any shard from any `k` others.

use reed_solomon_erasure::galois_8;
use types::{Error, Profile, Result};

use super::codec::Codec;
use super::kernel::{Kernel, Matrix};
use super::oracle::RsCodec;

/// Names a code in one number that stands in every shard's record: bits 28-31 field, 24-27 matrix, 16-23 low bits of
/// the polynomial, 8-15 k, 0-7 m. A reader that does not know the code refuses the record instead of misreading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeId(u32);

/// GF(2^8).
const FIELD: u32 = 1;
/// Vandermonde, made systematic by multiplying with the inverse of its upper square.
const MATRIX: u32 = 1;
/// x^8 + x^4 + x^3 + x^2 + 1 without its first term.
const POLYNOMIAL: u32 = 0x1d;

impl CodeId {
    /// The code that new stripes of a profile get.
    pub fn new(profile: Profile) -> Self {
        Self(FIELD << 28 | MATRIX << 24 | POLYNOMIAL << 16 | u32::from(profile.k) << 8 | u32::from(profile.m))
    }

    /// Reads the number from a record; `Invalid` for a code this version cannot compute.
    pub fn parse(number: u32) -> Result<Self> {
        let [m, k, ..] = number.to_le_bytes();
        let profile = Profile::parse(&format!("{k}+{m}"));
        match profile.map(Self::new) {
            Ok(id) if id.0 == number => Ok(id),
            _ => {
                Err(Error::invalid(format!("erasure code {number:#010x} is unknown here: update this node")))
            }
        }
    }

    /// What records hold; [`CodeId::parse`] reads it back.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Its `k` and `m`.
    pub fn profile(self) -> Profile {
        let [m, k, ..] = self.0.to_le_bytes();
        Profile { k, m }
    }
}

/// The codec that multiplies with the library's matrix on a kernel of ours.
#[derive(Debug)]
pub struct KernelCodec {
    kernel: Kernel,
    profile: Profile,
    /// The lower `m` rows of the encoding matrix; the upper `k` are the identity.
    parity: Matrix,
}

impl KernelCodec {
    /// The codec of a profile; `Invalid` when this CPU lacks the kernel.
    pub fn new(profile: Profile, kernel: Kernel) -> Result<Self> {
        if !kernel.is_supported() {
            return Err(Error::invalid(format!(
                "this CPU has no {kernel:?} instructions; choose another kernel"
            )));
        }
        Ok(Self { kernel, profile, parity: Matrix::new(kernel, parity_rows(profile)?) })
    }

    /// Data shards of a stripe.
    pub(super) fn k(&self) -> usize {
        self.profile.k.into()
    }

    /// Shards of the stripes it codes.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Computes the shards `wanted` from `k` others: `sources` are their indexes, `inputs` their bytes.
    pub(super) fn derive(
        &self,
        sources: &[usize],
        inputs: &[&[u8]],
        wanted: &[usize],
        outputs: &mut [&mut [u8]],
    ) {
        let inverse = invert(sources.iter().map(|&index| self.encoding_row(index)).collect());
        let rows = wanted.iter().map(|&index| multiply_row(&self.encoding_row(index), &inverse)).collect();
        Matrix::new(self.kernel, rows).multiply(inputs, outputs);
    }

    fn encoding_row(&self, index: usize) -> Vec<u8> {
        match index.checked_sub(self.k()) {
            Some(parity) => self.parity.row(parity).to_vec(),
            None => (0..self.k()).map(|column| u8::from(column == index)).collect(),
        }
    }
}

impl Codec for KernelCodec {
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<()> {
        check_sizes(data.iter().map(|d| d.len()).chain(parity.iter().map(|p| p.len())))?;
        if (data.len(), parity.len()) != (self.k(), self.profile.m.into()) {
            return Err(Error::invalid(format!(
                "{} + {} shards for {}",
                data.len(),
                parity.len(),
                self.profile
            )));
        }
        self.parity.multiply(data, parity);
        Ok(())
    }

    fn reconstruct(&self, shards: &mut [Option<Vec<u8>>]) -> Result<()> {
        let sources = sources(self.profile, shards)?;
        check_sizes(shards.iter().flatten().map(Vec::len))?;
        let wanted: Vec<usize> = (0..shards.len()).filter(|&i| shards[i].is_none()).collect();
        let inputs: Vec<&[u8]> = sources.iter().filter_map(|&i| shards[i].as_deref()).collect();
        let mut rebuilt = vec![vec![0; inputs[0].len()]; wanted.len()];
        self.derive(
            &sources,
            &inputs,
            &wanted,
            &mut rebuilt.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        );
        for (index, shard) in wanted.into_iter().zip(rebuilt) {
            shards[index] = Some(shard);
        }
        Ok(())
    }
}

/// The first `k` shards that are there, data before parity.
pub(super) fn sources<T>(profile: Profile, shards: &[Option<T>]) -> Result<Vec<usize>> {
    if shards.len() != profile.n() {
        return Err(Error::invalid(format!("{} shards given for a stripe of {profile}", shards.len())));
    }
    let present: Vec<usize> = (0..shards.len()).filter(|&i| shards[i].is_some()).collect();
    let k = usize::from(profile.k);
    if present.len() < k {
        return Err(Error::unavailable(format!("{} shards of {profile} left, {k} needed", present.len())));
    }
    Ok(present[..k].to_vec())
}

pub(super) fn check_sizes(mut sizes: impl Iterator<Item = usize>) -> Result<()> {
    let first = sizes.next().unwrap_or(0);
    if first == 0 || sizes.any(|size| size != first) {
        return Err(Error::invalid("the shards of a stripe must all have the same size, at least 1 byte"));
    }
    Ok(())
}

/// The library does not expose its matrix, but encoding a unit vector gives one of its columns.
fn parity_rows(profile: Profile) -> Result<Vec<Vec<u8>>> {
    let library = RsCodec::new(profile)?;
    let k = usize::from(profile.k);
    let mut rows = vec![vec![0; k]; profile.m.into()];
    for column in 0..k {
        let unit: Vec<[u8; 1]> = (0..k).map(|i| [u8::from(i == column)]).collect();
        let mut factors = vec![[0; 1]; profile.m.into()];
        library.encode(
            &unit.iter().map(|u| &u[..]).collect::<Vec<_>>(),
            &mut factors.iter_mut().map(|f| &mut f[..]).collect::<Vec<_>>(),
        )?;
        rows.iter_mut().zip(factors).for_each(|(row, [factor])| row[column] = factor);
    }
    Ok(rows)
}

/// `row * matrix`.
fn multiply_row(row: &[u8], matrix: &[Vec<u8>]) -> Vec<u8> {
    let mut product = vec![0; row.len()];
    for (factor, other) in row.iter().zip(matrix) {
        galois_8::mul_slice_xor(*factor, other, &mut product);
    }
    product
}

/// Gauss-Jordan. Every `k` rows of the encoding matrix are independent: that is what makes it a code.
fn invert(mut matrix: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let size = matrix.len();
    let mut inverse: Vec<Vec<u8>> =
        (0..size).map(|r| (0..size).map(|c| u8::from(r == c)).collect()).collect();
    for column in 0..size {
        let pivot = (column..size).find(|&row| matrix[row][column] != 0).expect("any k rows are independent");
        matrix.swap(column, pivot);
        inverse.swap(column, pivot);
        let scale = galois_8::div(1, matrix[column][column]);
        for row in [&mut matrix[column], &mut inverse[column]] {
            row.iter_mut().for_each(|x| *x = galois_8::mul(*x, scale));
        }
        for row in (0..size).filter(|&row| row != column) {
            let factor = matrix[row][column];
            for matrix in [&mut matrix, &mut inverse] {
                let pivot_row = matrix[column].clone();
                galois_8::mul_slice_xor(factor, &pivot_row, &mut matrix[row]);
            }
        }
    }
    inverse
}
