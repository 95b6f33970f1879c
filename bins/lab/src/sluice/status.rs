//! What `status --json` says, asked for by path.

use serde_json::Value;

/// One status.
#[derive(Clone, Debug)]
pub struct Status {
    json: Value,
}

impl Status {
    pub(crate) fn new(json: Value) -> Status {
        Status { json }
    }

    /// The whole document.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// A dropped-packets counter by reason; 0 if the reason has not occurred.
    pub fn drops(&self, reason: &str) -> u64 {
        self.json["drops"][reason].as_u64().unwrap_or(0)
    }

    /// A counter by its name; 0 if nothing was counted.
    pub fn counter(&self, name: &str) -> u64 {
        self.json["counters"][name].as_u64().unwrap_or(0)
    }

    /// All dropped packets.
    pub fn all_drops(&self) -> u64 {
        self.json["drops"].as_object().map_or(0, |drops| drops.values().filter_map(Value::as_u64).sum())
    }

    /// The number of rules in force.
    pub fn rules(&self) -> usize {
        self.json["rules"].as_array().map_or(0, Vec::len)
    }
}
