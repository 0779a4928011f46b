"""The joint between a body and its parent, found in the segmentation."""

import numpy as np

_CONTACT_MM = 8.0
_MIN_CONTACTS = 12
_RADIUS_MM = (8.0, 45.0)


def joint_centre(child_surface_mm: np.ndarray, parent_surface_mm: np.ndarray) -> np.ndarray:
    """Centre of the joint, RAS mm: of the sphere through the child's surface where it faces the parent.

    Where the contact is no sphere (a hinge, a joint that the CT cuts), the contact's own middle.

    Args:
        child_surface_mm: (N, 3) surface points.
        parent_surface_mm: (M, 3) surface points.
    """
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(parent_surface_mm).query(child_surface_mm)
    contact = child_surface_mm[distance < _CONTACT_MM]
    if len(contact) < _MIN_CONTACTS:
        contact = child_surface_mm[np.argsort(distance)[:_MIN_CONTACTS]]
        return contact.mean(axis=0)
    centre, radius = fit_sphere(contact)
    if not _RADIUS_MM[0] <= radius <= _RADIUS_MM[1] or np.linalg.norm(centre - contact.mean(axis=0)) > 1.5 * radius:
        return contact.mean(axis=0)
    return centre


def fit_sphere(points_mm: np.ndarray) -> tuple[np.ndarray, float]:
    """Least-squares sphere of points (N, 3): centre and radius, with outliers trimmed twice."""
    inliers = points_mm
    for _ in range(3):
        origin = inliers.mean(axis=0)
        local = inliers - origin
        design = np.column_stack([2 * local, np.ones(len(local))])
        solution, *_ = np.linalg.lstsq(design, (local**2).sum(axis=1), rcond=None)
        centre = solution[:3] + origin
        radius = float(np.sqrt(max(solution[3] + solution[:3] @ solution[:3], 0.0)))
        residual = np.abs(np.linalg.norm(inliers - centre, axis=1) - radius)
        inliers = inliers[residual <= max(2.5 * np.median(residual), 1.0)]
    return centre, radius
