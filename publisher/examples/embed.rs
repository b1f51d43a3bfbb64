//! Publishes the length of every line typed. Watch it arrive: `dotter-broker PATH 0.1 URL`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let publisher = dotter_publisher::Publisher::open("embed")?;
    let length = publisher.series("embed.line.length")?.unit("characters");
    println!("publishing to {}", publisher.path().display());
    for line in std::io::stdin().lines() {
        length.dot(line?.chars().count() as f64);
    }
    Ok(())
}
