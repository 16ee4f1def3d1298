//! Arrays of pixels that are sent.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use framewire::{Image, PixelFormat};
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods as _, ndarray::ArrayViewMutD};
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyDateTime};

use crate::{
    errors::{exception, wrong},
    pool::Pool,
};

/// The picture in an array of H x W x 3 (`bgr` or `rgb`) or H x W (grey), of any strides. This copies the pixels, once, so that the
/// program may draw on them again at once.
///
/// # Errors
/// It is no such array: what it is, and what to do.
pub(crate) fn taken(
    image: &Bound<'_, PyAny>,
    color: &str,
    captured_at: Option<&Bound<'_, PyAny>>,
    pool: &Pool,
) -> PyResult<Image> {
    let captured = captured_at.map(moment).transpose()?;
    let image = pixels(image, color, pool)?;
    Ok(match captured {
        Some(captured) => image.captured_at(captured),
        None => image,
    })
}

fn pixels(image: &Bound<'_, PyAny>, color: &str, pool: &Pool) -> PyResult<Image> {
    let Ok(array) = image.cast::<PyUntypedArray>() else {
        let found = image.get_type();
        return Err(PyTypeError::new_err(format!("a picture is a numpy array of uint8, not {found}")));
    };
    let found = array.dtype();
    let array: PyReadonlyArrayDyn<'_, u8> = image.extract().map_err(|_| {
        wrong(format!("a picture is an array of uint8, not {found}: image.astype(numpy.uint8) converts it"))
    })?;
    let shape = array.shape().to_vec();
    let format = match (color, &shape[..]) {
        (_, [_, _]) | ("gray", [_, _, 1]) => PixelFormat::Gray,
        ("bgr", [_, _, 3]) => PixelFormat::Bgr,
        ("rgb", [_, _, 3]) => PixelFormat::Rgb,
        ("bgr" | "rgb" | "gray", _) => {
            return Err(wrong(format!(
                "a picture has the shape (height, width, 3), or (height, width) if it is grey, and this array has {shape:?}"
            )));
        }
        _ => return Err(wrong(format!("'{color}' is no order of colours: bgr, rgb or gray"))),
    };
    let (height, width) = (shape[0], shape[1]);
    let size = (u32::try_from(width).unwrap_or(u32::MAX), u32::try_from(height).unwrap_or(u32::MAX));
    Image::check_size(size.0, size.1).map_err(|error| exception(&error))?;
    let mut copy = pool.take(shape.iter().product());
    let mut to = ArrayViewMutD::from_shape(array.shape(), &mut copy.bytes).map_err(wrong)?;
    to.assign(&array.as_array());
    Image::new(format, size.0, size.1, Bytes::from_owner(copy)).map_err(|error| exception(&error))
}

/// A datetime, or seconds since 1970 as `time.time()` has them, as a moment of this process.
fn moment(time: &Bound<'_, PyAny>) -> PyResult<Instant> {
    let seconds: f64 = match time.cast::<PyDateTime>() {
        Ok(_) => time.call_method0("timestamp")?.extract()?,
        Err(_) => time.extract()?,
    };
    if !seconds.is_finite() {
        return Err(wrong(format!("captured_at: {seconds} is no time; it is a datetime, or seconds since 1970")));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ago = Duration::try_from_secs_f64(now.as_secs_f64() - seconds).unwrap_or_default();
    Instant::now().checked_sub(ago).ok_or_else(|| wrong("captured_at is before this machine started"))
}
