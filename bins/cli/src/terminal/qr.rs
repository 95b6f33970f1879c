//! QR codes, as the WireGuard apps scan them.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::Terminal;

/// Four modules of quiet on each side, ISO/IEC 18004; the renderer draws them.
const QUIET: usize = 8;

impl Terminal {
    /// The code of a text, if it fits.
    pub(crate) fn qr(&self, text: &str) {
        let Ok(code) = QrCode::new(text.as_bytes()) else { return };
        if code.width() + QUIET > self.width() {
            self.note("The terminal is too narrow for a QR code of it.");
            return;
        }
        let mut image = code.render::<Dense1x2>();
        self.black_on_white(&if self.has_colours() {
            image.build()
        } else {
            // Most terminals are dark, so what is printed is to be the light.
            image.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
        });
    }
}
