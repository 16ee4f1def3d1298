//! Prints how old the newest frame of a stream is: `cargo run --example frame_age fw://127.0.0.1:7070/scene`

fn main() -> Result<(), framewire::Error> {
    let from = std::env::args().nth(1).unwrap_or("fw://127.0.0.1:7070/scene".into());
    print_ages(&from, usize::MAX)
}

/// Prints the age of this many frames.
///
/// # Errors
/// The stream cannot be opened, or no frame comes in time.
pub fn print_ages(from: &str, frames: usize) -> Result<(), framewire::Error> {
    for frame in framewire::Viewer::open(from)?.frames().take(frames) {
        let frame = frame?;
        println!("frame {}: {:?} old", frame.sequence(), frame.age());
    }
    Ok(())
}
