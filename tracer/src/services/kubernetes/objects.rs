//! What is kept of the API's objects while they are read: nothing but what the
//! names are made of.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope, GroupVersionKind},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{
    pick::{self, Service},
    store::Key,
};
use crate::services::endpoints::Slice;

/// An object as the watch needs it.
#[derive(Clone, Debug)]
pub(super) struct Picked<T> {
    meta: ObjectMeta,
    /// What no two have in common; `None`: it has no name.
    pub(super) key: Option<Key>,
    /// What was picked; `None`: it is not such an object.
    pub(super) is: Option<T>,
}

/// What can be picked from an object of the API.
pub(super) trait Pick: Sized {
    fn pick(object: &Value) -> Option<Self>;
}

impl Pick for Service {
    fn pick(object: &Value) -> Option<Self> {
        pick::service(object)
    }
}

impl Pick for Slice {
    fn pick(object: &Value) -> Option<Self> {
        pick::slice(object)
    }
}

/// Any JSON is taken, so that one object that is not as it should be does not
/// spoil the list that it is in.
impl<'de, T: Pick> Deserialize<'de> for Picked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let text = |pointer: &str| {
            let text = object.pointer(pointer).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let meta = ObjectMeta {
            resource_version: text("/metadata/resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self {
            meta,
            key: pick::key(&object),
            is: T::pick(&object),
        })
    }
}

impl<T> Resource for Picked<T> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        (&dt.kind).into()
    }

    fn group(dt: &ApiResource) -> Cow<'_, str> {
        (&dt.group).into()
    }

    fn version(dt: &ApiResource) -> Cow<'_, str> {
        (&dt.version).into()
    }

    fn api_version(dt: &ApiResource) -> Cow<'_, str> {
        (&dt.api_version).into()
    }

    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        (&dt.plural).into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Services.
pub(super) fn services() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Service"), "services")
}

/// EndpointSlices; `v1` from Kubernetes 1.21 on, `v1beta1` before 1.25.
pub(super) fn slices(version: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("discovery.k8s.io", version, "EndpointSlice");
    ApiResource::from_gvk_with_plural(&kind, "endpointslices")
}
