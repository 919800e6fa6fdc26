"""What a prompt asks for and how hard it is; `classifier` is the seam, `trained` what ships."""
