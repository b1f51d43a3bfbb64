//! How libdotter.so is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The name a program asks for that was linked with the library.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libdotter.so");
    // Threads give their lanes back when they end, and forks are noticed for ever: code that is called then
    // must still be there after a dlclose.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
