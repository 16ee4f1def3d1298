//! How long JPEG takes here: `jpeg_speed RAW WIDTH HEIGHT [QUALITY]`, RAW a file of full-range I420 pictures.

use std::time::Instant;

use framewire::{
    media::{Picture, Pool, colour, jpeg},
    proto::Codec,
};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (width, height): (u32, u32) = (args[2].parse()?, args[3].parse()?);
    let quality = args.get(4).map_or(Ok(80), |text| text.parse())?;
    let length = Codec::I420.raw_length(width, height).unwrap();
    let raw = std::fs::read(&args[1])?;
    let pool = Pool::default();
    let yuv: Vec<Picture> = raw
        .chunks_exact(length)
        .map(|picture| Picture::new(Codec::I420, width, height, bytes::Bytes::copy_from_slice(picture)))
        .collect::<Result<_, _>>()?;
    let bgr: Vec<Picture> =
        yuv.iter().map(|picture| colour::convert(picture, Codec::Bgr24, &pool)).collect::<Result<_, _>>()?;
    let (mut encoder, mut decoder) = (jpeg::Encoder::new(quality), jpeg::Decoder::new());
    let jpegs: Vec<_> = yuv.iter().map(|picture| encoder.encode(picture)).collect::<Result<_, _>>()?;
    let size = jpegs.iter().map(bytes::Bytes::len).sum::<usize>() / jpegs.len();
    println!("{width}x{height} quality {quality}, {size} bytes");
    time("encode i420", yuv.len(), |i| drop(encoder.encode(&yuv[i]).unwrap()));
    time("encode bgr", yuv.len(), |i| drop(encoder.encode(&bgr[i]).unwrap()));
    time("decode to i420", yuv.len(), |i| drop(decoder.decode(&jpegs[i], Codec::I420).unwrap()));
    time("decode to bgr", yuv.len(), |i| drop(decoder.decode(&jpegs[i], Codec::Bgr24).unwrap()));
    psnr("psnr i420", decoder.decode(&jpegs[0], Codec::I420)?.data(), yuv[0].data());
    Ok(())
}

fn psnr(name: &str, a: &[u8], b: &[u8]) {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    println!("  {name:24} {:.2} dB", 10.0 * (255.0 * 255.0 * a.len() as f64 / sum as f64).log10());
}

/// Median and least of seven runs over all pictures, in ms a picture.
fn time(name: &str, pictures: usize, mut work: impl FnMut(usize)) {
    let mut runs: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..pictures).for_each(&mut work);
            start.elapsed().as_secs_f64() * 1000.0 / pictures as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("  {name:24} {:.2} ms (least {:.2})", runs[3], runs[0]);
}
