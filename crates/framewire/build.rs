//! Tells the code which FFmpeg it is built against: from 6.1 on a track's side data is among its parameters.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ffmpeg_6_1)");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("DEP_FFMPEG_FFMPEG_6_1").is_some() {
        println!("cargo::rustc-cfg=ffmpeg_6_1");
    }
}
