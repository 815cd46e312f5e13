//! Rules for the ConfigMap `istio`, which holds the mesh-wide settings as YAML text.
//!
//! Checked like any object, so that mesh-wide settings with a mistake keep their last good version too.

use super::{Checker, effect};
use crate::api::kubernetes::ConfigMap;
use crate::decode::Problem;
use crate::diagnostic::Severity;
use crate::mesh::{self, DEFAULT_ROOT_NAMESPACE, MESH_CONFIG_KEY, MESH_CONFIG_MAP, MeshConfigSpec};
use crate::object::ObjectId;
use crate::yaml::{self, Position};

pub(super) fn check(cx: &mut Checker<'_>, id: &ObjectId, body: &ConfigMap) {
    if &*id.namespace != DEFAULT_ROOT_NAMESPACE || &*id.name != MESH_CONFIG_MAP {
        return;
    }
    let Some(text) = body.data.get(MESH_CONFIG_KEY) else { return };
    // Text of several lines is a block scalar, so its first line follows that of the key.
    let offset = u32::from(text.trim_end().contains('\n'));
    let key = cx.node.get("data").and_then(|data| data.entry(MESH_CONFIG_KEY));
    let start = key.map_or_else(|| yaml::locate(cx.node, ""), |entry| entry.key_position);
    for mut problem in problems(text) {
        let line = (start.line + offset).saturating_add(problem.position.line.saturating_sub(1));
        problem.position = Position { line, column: 0 };
        problem.field = format!("data[{MESH_CONFIG_KEY}].{}", problem.field);
        cx.problems.push(problem);
    }
}

/// What is wrong in the text, and what has no effect; positions count from its start.
fn problems(text: &str) -> Vec<Problem> {
    let (_, mut problems) = mesh::read::<MeshConfigSpec>(text);
    if let Some(Ok(node)) = yaml::documents(text).into_iter().next().map(|document| document.node) {
        problems.extend(effect::in_mesh(&node).into_iter().map(|field| Problem {
            severity: Severity::Warning,
            code: "IST0133",
            position: yaml::locate(&node, &field),
            field,
            message: effect::NO_EFFECT.to_owned(),
        }));
    }
    problems
}
