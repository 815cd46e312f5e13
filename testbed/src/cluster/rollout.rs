//! Which pods to make and which to remove next. Pure; asked again after every change until it has no more wishes.
//!
//! A changed Deployment is replaced as Kubernetes' default strategy does it: a quarter more pods than wanted (at
//! least one) while it lasts, and an old pod goes only when enough others are ready.

use outrigger_config::object::Kind;

use super::workload::Workload;

/// What the decision needs to know of an existing pod.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Whether it has the workload's present template.
    pub current: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// How it ended, if it did.
    pub ended: Option<bool>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a pod; the number counts the pods of a StatefulSet.
    Create(u32),
    /// Terminate the pod of this name.
    Delete(String),
}

/// How often the pods of a Job may fail, as Kubernetes' default.
const JOB_FAILURES: usize = 6;

/// The next steps for a workload whose pods, oldest first, are `members`.
pub fn next_steps(workload: &Workload, members: &[Member]) -> Vec<Step> {
    match workload.id.kind {
        Kind::Job => job(workload, members),
        Kind::StatefulSet => stateful(workload, members),
        Kind::Pod => bare(workload, members),
        _ => replicated(workload, members),
    }
}

fn replicated(workload: &Workload, members: &[Member]) -> Vec<Step> {
    let wanted = workload.replicas as usize;
    let live = || members.iter().filter(|member| !member.deleting);
    let (current, old): (Vec<&Member>, Vec<&Member>) = live().partition(|member| member.current);
    let surge = if old.is_empty() { 0 } else { wanted.div_ceil(4).max(1) };
    let room = (wanted + surge).saturating_sub(current.len() + old.len());
    let mut steps = vec![Step::Create(0); wanted.saturating_sub(current.len()).min(room)];
    // Surplus first loses those that serve nobody, then the youngest.
    let mut surplus: Vec<&&Member> = current.iter().rev().collect();
    surplus.sort_by_key(|member| member.ready);
    steps.extend(surplus.iter().take(current.len().saturating_sub(wanted)).map(|member| delete(member)));
    let ready = live().filter(|member| member.ready).count();
    let mut spare = ready.saturating_sub(wanted - wanted / 4);
    for member in old {
        if member.ready {
            if spare == 0 {
                continue;
            }
            spare -= 1;
        }
        steps.push(delete(member));
    }
    steps
}

fn stateful(workload: &Workload, members: &[Member]) -> Vec<Step> {
    let find = |ordinal: u32| {
        let name = workload.pod_name(ordinal);
        members.iter().find(move |member| member.name == name)
    };
    let wanted: Vec<String> = (0..workload.replicas).map(|ordinal| workload.pod_name(ordinal)).collect();
    let surplus = members.iter().filter(|member| !member.deleting && !wanted.contains(&member.name));
    let mut steps: Vec<Step> = surplus.map(delete).collect();
    let mut all_ready = true;
    for ordinal in 0..workload.replicas {
        match find(ordinal) {
            None => steps.push(Step::Create(ordinal)),
            Some(member) if member.ready && !member.deleting => continue,
            Some(_) => {}
        }
        all_ready = false;
        if workload.ordered {
            break;
        }
    }
    let outdated = (0..workload.replicas).rev().filter_map(find).find(|member| !member.current);
    if let Some(member) = outdated.filter(|member| !member.deleting && (all_ready || !member.ready)) {
        steps.push(delete(member));
    }
    steps
}

fn job(workload: &Workload, members: &[Member]) -> Vec<Step> {
    let count = |wish: fn(&Member) -> bool| members.iter().filter(|member| wish(member)).count();
    let succeeded = count(|member| member.ended == Some(true));
    let failed = count(|member| member.ended == Some(false));
    let active = count(|member| member.ended.is_none() && !member.deleting);
    if failed > JOB_FAILURES {
        return Vec::new();
    }
    let missing = (workload.completions as usize).saturating_sub(succeeded + active);
    vec![Step::Create(0); missing.min((workload.replicas as usize).saturating_sub(active))]
}

fn bare(_: &Workload, members: &[Member]) -> Vec<Step> {
    match members {
        [] => vec![Step::Create(0)],
        [member] if !member.current && !member.deleting => vec![delete(member)],
        _ => Vec::new(),
    }
}

fn delete(member: &Member) -> Step {
    Step::Delete(member.name.clone())
}

#[cfg(test)]
mod tests {
    use outrigger_config::object::ObjectId;
    use serde_json::json;

    use super::*;

    fn workload(kind: Kind, replicas: u32) -> Workload {
        let id = ObjectId { kind, namespace: "shop".into(), name: "w".into() };
        Workload::new(id, replicas, replicas, true, json!({}))
    }

    fn member(name: &str, current: bool, ready: bool) -> Member {
        Member { name: name.into(), current, ready, deleting: false, ended: None }
    }

    #[test]
    fn a_rolling_replacement_never_has_fewer_ready_pods_than_three_quarters() {
        let workload = workload(Kind::Deployment, 3);
        let mut members: Vec<Member> = ["a", "b", "c"].map(|name| member(name, false, true)).to_vec();
        let mut made = 0;
        for _ in 0..20 {
            let steps = next_steps(&workload, &members);
            if steps.is_empty() {
                break;
            }
            for step in steps {
                match step {
                    Step::Create(_) => {
                        made += 1;
                        members.push(member(&format!("new{made}"), true, false));
                    }
                    Step::Delete(name) => members.retain(|member| member.name != name),
                }
                assert!(members.len() <= 4);
                assert!(members.iter().filter(|member| member.ready).count() >= 3);
            }
            members.iter_mut().for_each(|member| member.ready = true);
        }
        assert_eq!(members.len(), 3);
        assert!(members.iter().all(|member| member.current));
    }

    #[test]
    fn a_smaller_count_removes_unready_pods_first_then_the_youngest() {
        let workload = workload(Kind::Deployment, 1);
        let members = [member("a", true, true), member("b", true, false), member("c", true, true)];
        assert_eq!(next_steps(&workload, &members), [Step::Delete("b".into()), Step::Delete("c".into())]);
    }

    #[test]
    fn pods_of_a_stateful_set_start_one_after_the_other() {
        let workload = workload(Kind::StatefulSet, 3);
        assert_eq!(next_steps(&workload, &[]), [Step::Create(0)]);
        assert_eq!(next_steps(&workload, &[member("w-0", true, false)]), []);
        assert_eq!(next_steps(&workload, &[member("w-0", true, true)]), [Step::Create(1)]);
    }

    #[test]
    fn a_changed_stateful_set_is_replaced_from_the_highest_number_down() {
        let workload = workload(Kind::StatefulSet, 2);
        let members = [member("w-0", false, true), member("w-1", false, true)];
        assert_eq!(next_steps(&workload, &members), [Step::Delete("w-1".into())]);
    }

    #[test]
    fn a_job_is_done_when_enough_pods_succeeded() {
        let workload = workload(Kind::Job, 1);
        let mut done = member("w-1", true, false);
        done.ended = Some(true);
        assert_eq!(next_steps(&workload, std::slice::from_ref(&done)), []);
        done.ended = Some(false);
        assert_eq!(next_steps(&workload, &[done]), [Step::Create(0)]);
    }
}
