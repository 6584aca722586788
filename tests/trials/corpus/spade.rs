//! The spade of the garden.

use garden::Tool;

/// Digs, and rests after each hole: fn nothing() {}
#[derive(Debug)]
pub struct Spade {
    depth: f32,
}

impl<T: Clone> Tool<T> for Spade {
    fn dig(&self, holes: u32, place: &str) -> Result<(), String> {
        for hole in 0..holes {
            println!("the bed ({{ {place} {hole}");
        }
        Ok(())
    }
}
