//! Arrays of pixels that a program gets, in memory that is used again.
#![allow(unsafe_code, reason = "an array of NumPy's that shows memory of this module's")]

use framewire::{Frame, PixelFormat};
use numpy::{PyArrayDyn, ndarray::ArrayViewMutD};
use pyo3::prelude::*;

use crate::{
    errors::exception,
    pool::{Buffer, Pool},
};

/// The memory of an array: it returns to its pool when the last array that shows it is gone.
#[pyclass(frozen)]
struct Memory {
    _pixels: Buffer,
}

/// The picture as a new array, decoded straight into it: H x W x 3, or H x W where it is grey. C-contiguous and writable.
pub(crate) fn array<'py>(
    py: Python<'py>,
    frame: &Frame,
    format: PixelFormat,
    pool: &Pool,
) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let shape: &[usize] = if format == PixelFormat::Gray { &[height, width] } else { &[height, width, 3] };
    let mut pixels = pool.take(format.length(frame.width(), frame.height()));
    py.detach(|| frame.image_into(format, &mut pixels.bytes)).map_err(|error| exception(&error))?;
    let start = pixels.bytes.as_mut_ptr();
    let memory = Bound::new(py, Memory { _pixels: pixels })?;
    // SAFETY: the vector is as long as the shape says, and is neither moved nor used by anybody else as long as `memory` lives,
    // which the array keeps alive.
    Ok(unsafe {
        let view = ArrayViewMutD::from_shape_ptr(shape, start);
        PyArrayDyn::borrow_from_array(&view, memory.into_any())
    })
}
