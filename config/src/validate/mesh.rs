//! Rules for the ConfigMap `istio`, which holds the mesh-wide settings as YAML text.
//!
//! Checked like any object, so that mesh-wide settings with a mistake keep their last good version too.

use super::Checker;
use crate::api::kubernetes::ConfigMap;
use crate::mesh::{self, DEFAULT_ROOT_NAMESPACE, MESH_CONFIG_KEY, MESH_CONFIG_MAP, MeshConfigSpec};
use crate::object::ObjectId;
use crate::yaml::{self, Position};

pub(super) fn check(cx: &mut Checker<'_>, id: &ObjectId, body: &ConfigMap) {
    if &*id.namespace != DEFAULT_ROOT_NAMESPACE || &*id.name != MESH_CONFIG_MAP {
        return;
    }
    let Some(text) = body.data.get(MESH_CONFIG_KEY) else { return };
    let (_, problems) = mesh::read::<MeshConfigSpec>(text);
    // Text of several lines is a block scalar, so its first line follows that of the key.
    let offset = u32::from(text.trim_end().contains('\n'));
    let key = cx.node.get("data").and_then(|data| data.entry(MESH_CONFIG_KEY));
    let start = key.map_or_else(|| yaml::locate(cx.node, ""), |entry| entry.key_position);
    for mut problem in problems {
        problem.position = Position { line: (start.line + offset).saturating_add(problem.position.line.saturating_sub(1)), column: 0 };
        problem.field = format!("data[{MESH_CONFIG_KEY}].{}", problem.field);
        cx.problems.push(problem);
    }
}
