"""Workbooks of Excel and LibreOffice: sheets in, sheets out."""
