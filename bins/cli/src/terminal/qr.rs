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
        self.black_on_white(&drawn(&code, self.has_colours()));
    }
}

/// Two modules in a character. Where no colours can be chosen most terminals are dark, so that what is printed is to be the
/// light.
fn drawn(code: &QrCode, is_on_paper: bool) -> String {
    let mut image = code.render::<Dense1x2>();
    if !is_on_paper {
        image.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark);
    }
    image.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: u8 = 0;
    const WHITE: u8 = 255;
    /// Pixels of a module, each way.
    const SCALE: usize = 4;

    /// What an app reads of what a camera sees of it.
    fn read(picture: &str, ink: u8) -> String {
        let modules: Vec<Vec<u8>> = picture
            .lines()
            .flat_map(|line| [["▀", "█"], ["▄", "█"]].map(|inked| (line, inked)))
            .map(|(line, inked)| {
                let is_inked = |character: char| inked.iter().any(|inked| inked.starts_with(character));
                line.chars().map(|character| if is_inked(character) { ink } else { WHITE - ink }).collect()
            })
            .collect();
        let [width, height] = [modules[0].len(), modules.len()].map(|len| len * SCALE);
        let colour = |x: usize, y: usize| modules[y / SCALE][x / SCALE];
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, colour);
        let grids = image.detect_grids();
        let [found] = &grids[..] else { panic!("no code, or several:\n{picture}") };
        found.decode().unwrap().1
    }

    #[test]
    fn what_is_drawn_is_read_as_what_was_meant() {
        let file = "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nAddress = 10.77.0.3/32\n\
                    MTU = 1420\n\n[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n\
                    Endpoint = 192.168.178.100:51820\nAllowedIPs = 10.20.0.5/32\nPersistentKeepalive = 25\n";
        for text in [file, "a", &"long ".repeat(150)] {
            let code = QrCode::new(text.as_bytes()).unwrap();
            for (is_on_paper, ink) in [(true, BLACK), (false, WHITE)] {
                assert_eq!(read(&drawn(&code, is_on_paper), ink), text, "on paper: {is_on_paper}");
            }
        }
    }
}
