//! The adapter that the tests run shaders on.

use std::io::Write;
use std::sync::{Arc, Once};

use sdgpu::internals::device::Device;
use sdgpu::internals::device::gpu::{AdapterChoice, GpuDevice, GpuRequest};
use sdgpu::internals::kernels::compose;

/// The adapter that `SDGPU_TEST_ADAPTER` names (any part of its name), or the preferred one.
pub fn request() -> GpuRequest {
    let adapter = std::env::var("SDGPU_TEST_ADAPTER").map_or(AdapterChoice::Preferred, AdapterChoice::Named);
    GpuRequest { adapter, ..GpuRequest::default() }
}

/// Opens an adapter, and says once which it is; without one, the test fails and says how to get one.
pub fn open_with(request: &GpuRequest) -> GpuDevice {
    static ANNOUNCED: Once = Once::new();
    let device = GpuDevice::open(request).unwrap_or_else(|error| {
        panic!(
            "{error}\nThe shader tests need an adapter, and never pass without one. scripts/test.sh installs \
             a software Vulkan driver; SDGPU_TEST_ADAPTER=NAME picks an adapter by a part of its name"
        )
    });
    ANNOUNCED.call_once(|| {
        let info = device.info();
        // Past libtest's capture, which hides what passing tests print.
        let _ = writeln!(std::io::stderr(), "shaders run on {} ({}, {})", info.name, info.backend, info.driver);
    });
    device
}

/// The adapter of [`request`].
pub fn open() -> GpuDevice {
    open_with(&request())
}

/// The adapter of [`request`], with `find` replaced in the shader `name`.
pub fn with_fault(name: &'static str, find: &'static str, replace: &'static str) -> GpuRequest {
    GpuRequest {
        sources: Some(Arc::new(move |shader, imports| {
            let text = compose(shader, imports)?;
            let wrong = text.replace(find, replace);
            assert!(shader.name != name || wrong != text, "the fault no longer applies");
            Ok(if shader.name == name { wrong } else { text })
        })),
        ..request()
    }
}
